"""Sweeps over real models: the traces, the command and the report. The engine is `sim.sweep`."""
