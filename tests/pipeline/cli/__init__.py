"""Tests of `penstock.pipeline.cli`."""
