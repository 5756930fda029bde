"""Tests of `penstock.pipeline.letters`."""
