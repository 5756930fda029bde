"""Tests of `penstock.pipeline.declaration`."""
