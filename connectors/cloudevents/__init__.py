"""CloudEvents 1.0: what an event says about itself, and how it goes over every transport."""
