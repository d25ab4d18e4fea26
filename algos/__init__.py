"""Pruning methods: each sees one frozen step of a model and returns a decision."""
