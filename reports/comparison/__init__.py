"""`prunesim compare`: every method of a family at equal budgets, on one workload and machine."""
