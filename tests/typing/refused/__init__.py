"""Programs that type checkers must refuse, at the lines that say so."""
