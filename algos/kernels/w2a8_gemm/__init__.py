"""Product of 2:4 sparse 2-bit weights and 8-bit activations."""
