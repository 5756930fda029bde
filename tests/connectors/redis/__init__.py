"""Tests of `penstock.connectors.redis`."""
