"""Which keys a query attends to, and in which precision."""
