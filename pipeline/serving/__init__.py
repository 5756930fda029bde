"""Pipelines as processes: settings, workers, the admin port, logs, and the embedded servers of `penstock dev`."""
