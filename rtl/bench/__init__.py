"""Benches of the blocks, in cocotb: values against golden functions, cycles against timing models.

They run inside the simulator's process. Unlike the components, they may use all of `sim.blocks`.
"""
