"""A whole program, run as its users run it, on real servers, with events from clients that are not ours."""
