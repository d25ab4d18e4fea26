"""The blocks of `sim.blocks` as synthesizable Amaranth components. None is written yet."""
