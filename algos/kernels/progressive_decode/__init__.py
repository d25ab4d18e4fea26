"""Attention of one query that fetches the low bits of K only where it is unsure."""
