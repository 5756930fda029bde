"""Programs that type checkers must accept."""
