"""Design-space sweeps: points of (workload, method, machine) that are never lost.

    space = Space.of({"machine": "spatten", "method": "spatten", "axes": {
        "machine.value_topk.lanes": [1, 4, 16], "method.token_keep_ratio": [0.5, 0.7, 0.9]}})
    Sweep(space, maker, Path("runs/mine")).run(Processes(2))

`reports.sweeping` has the maker that runs methods on models, the command and the report.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.sweep.axes import Axis
    from sim.sweep.engine import Processes
    from sim.sweep.space import Constraint, Search, Space
    from sim.sweep.sweep import Outcome, Sweep

__all__ = ["Axis", "Constraint", "Outcome", "Processes", "Search", "Space", "Sweep"]

_MODULES = {
    "Axis": "axes",
    "Constraint": "space",
    "Outcome": "sweep",
    "Processes": "engine",
    "Search": "space",
    "Space": "space",
    "Sweep": "sweep",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a worker needs no space, and a wrong file no machines."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
