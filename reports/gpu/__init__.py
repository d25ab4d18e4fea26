"""Modelled GPU times beside published measurements."""
