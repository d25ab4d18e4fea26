"""SpAtten's released RTL as a machine."""

from sim.machines.spatten_rtl.machine import SpAttenRtl

__all__ = ["SpAttenRtl"]
