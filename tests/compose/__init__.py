"""`compose.yaml` end to end: brought up, fed and read from the host, taken down. Run with `make compose-test`."""
