"""Which heads and neurons are pruned: whole rows and columns that belong together."""
