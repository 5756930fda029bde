"""Kafka: two clients behind one source and one sink."""
