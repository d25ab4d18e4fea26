"""DRAM devices as data, and the kernel that times requests against them."""
