"""Cycle-level accelerator models, driven by traces."""
