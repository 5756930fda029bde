"""From what a user writes to a graph: the calls, what they are checked against, and every mistake by its line."""
