"""Device functions of kernels that gather rows by lists of ids."""
