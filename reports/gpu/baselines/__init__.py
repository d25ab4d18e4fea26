"""Accelerators beside GPUs: simulated machines, kernels modelled or measured, published systems."""
