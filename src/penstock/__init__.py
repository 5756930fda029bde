"""penstock: turn a stream of events into decisions."""
