"""Runnable applications, each with its own producer and training script."""
