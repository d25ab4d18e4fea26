"""Static pruning: what is decided once, before the model runs."""
