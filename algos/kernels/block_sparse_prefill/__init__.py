"""Attention of a prompt in which each block of queries reads listed blocks of keys."""
