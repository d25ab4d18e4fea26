"""The blocks of `sim.blocks` as synthesizable Amaranth components, under the same names."""
