"""HTTP: a gateway that takes events, and a sink that posts them."""
