"""Tests of penstock.pipeline."""
