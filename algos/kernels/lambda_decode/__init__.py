"""Attention of one query over sinks and a ring of recent tokens, in 4 bits."""
