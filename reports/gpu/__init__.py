"""GPU and CPU kernels in reports: what compiles, what was measured, where sparsity breaks even."""
