"""The blocks of sim.blocks as synthesizable Amaranth components."""
