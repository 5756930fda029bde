"""Redis streams as topics: partitions with leased owners."""
