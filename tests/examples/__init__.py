"""The examples run, learn and decide."""
