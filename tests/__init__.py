"""The test suite. It mirrors the four packages; `tests.servers` starts the real servers it runs against."""
