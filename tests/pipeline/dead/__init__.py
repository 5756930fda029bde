"""Tests of `penstock.pipeline.dead`."""
