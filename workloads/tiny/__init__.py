"""Small models trained here on real data, with their training scripts and model cards."""
