"""Proofs by breaking things: whatever fails, and whenever, nothing is lost and every key keeps its order."""
