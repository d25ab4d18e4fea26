"""Which weights are pruned: scores, patterns, and the pruning that repairs what is left."""
