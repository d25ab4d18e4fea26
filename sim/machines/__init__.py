"""Machines composed of blocks and a memory."""
