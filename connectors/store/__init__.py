"""Keyed state, in Redis or in memory, and the connection that many share."""
