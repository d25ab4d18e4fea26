"""CPU kernels: what pruned weights and pruned tokens gain where no accelerator is at hand."""
