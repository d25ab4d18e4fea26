"""Attention of one query over a KV cache whose elements are pruned one by one."""
