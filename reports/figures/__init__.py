"""Figures: read result rows, draw; no simulation here."""
