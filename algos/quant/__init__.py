"""Reduced precision."""
