"""Attention of one query that fetches only the V rows of its largest probabilities."""
