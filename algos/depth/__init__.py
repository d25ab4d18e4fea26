"""Methods by which each token skips layers of its own."""
