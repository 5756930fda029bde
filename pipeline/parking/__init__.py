"""Keys that wait for long: set aside in the store, in order, and brought back."""
