"""Which experts of a mixture are dropped or merged."""
