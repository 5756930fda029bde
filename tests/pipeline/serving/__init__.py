"""Tests of `penstock.pipeline.serving`."""
