"""Tests of penstock.stages."""
