"""Tests of `penstock.pipeline.code`."""
