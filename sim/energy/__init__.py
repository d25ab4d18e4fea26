"""Energy: events counted by machines, times a table of sourced constants."""
