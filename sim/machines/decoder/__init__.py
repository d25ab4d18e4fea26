"""Machines that generate text: decoders whose weights and KV cache stream from memory."""
