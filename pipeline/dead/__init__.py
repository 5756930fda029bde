"""Dead letters as people handle them: looked through, edited, replayed, dropped."""
