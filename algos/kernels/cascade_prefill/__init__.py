"""Attention among the tokens and heads that cascade pruning keeps, and their importance."""
