"""Tests of `penstock.pipeline.parking`."""
