"""Tests of `penstock.pipeline.engine`."""
