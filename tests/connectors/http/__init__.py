"""Tests of `penstock.connectors.http`."""
