"""Methods on attention heads: which are pruned, shared, or get a short cache."""
