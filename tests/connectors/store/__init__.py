"""Tests of `penstock.connectors.store`."""
