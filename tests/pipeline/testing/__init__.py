"""Tests of `penstock.pipeline.testing`."""
