"""Testing a pipeline: the real engine on endpoints in memory."""
