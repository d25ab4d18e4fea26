"""Which layers, or halves of layers, are skipped."""
