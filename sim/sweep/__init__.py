"""Design-space sweeps: points of (workload, method, machine) that are never lost.

    space = Space.of({"machine": "spatten", "method": "spatten", "axes": {
        "machine.value_topk.lanes": [1, 4, 16], "method.token_keep_ratio": [0.5, 0.7, 0.9]}})
    Sweep(space, maker, Path("runs/mine")).run(Processes(2))

`reports.sweeping` has the maker that runs methods on models, the command and the report.
"""

from sim.sweep.axes import Axis
from sim.sweep.engine import Processes
from sim.sweep.space import Constraint, Search, Space
from sim.sweep.sweep import Outcome, Sweep

__all__ = ["Axis", "Constraint", "Outcome", "Processes", "Search", "Space", "Sweep"]
