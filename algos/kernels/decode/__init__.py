"""What kernels of single-query attention share: shapes, splits of the keys, device functions."""
