"""Attention of one query whose scores use some channels of K only."""
