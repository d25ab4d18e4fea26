"""How much of a real front a search finds in a tenth of the points.

SpAtten on MiniLM: every point once, then each sampler with three seeds. Judged by hypervolume: of
latency, energy, area and accuracy, each logarithmic (accuracy: as it is) and scaled to 0 at the
best and 1 at the worst of all points; the reference is 1.1 of each. Without pruning, a search
knows nothing of the bounds: it is shown for comparison.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import Measured, show

from reports.sweeping.traces import ModelTraces
from sim.sweep import Processes, Search, Space, Sweep
from sim.sweep.pareto import as_costs, front, hypervolume
from sim.sweep.store import Store

SPACE: dict[str, Any] = {
    "method": "spatten",
    "machine": "spatten",
    "limit": 12,
    "inputs": 1,
    "axes": {
        "method.token_keep_ratio": [0.5, 0.7, 0.9],
        "machine.query_key.multipliers": [64, 128, 256, 512],
        "machine.prob_value.multipliers": [64, 128, 256],
        "machine.softmax.lanes": [1, 2, 4, 8],
        "machine.cascade_topk.lanes": [1, 4, 16],
        "sram_rows": {
            "set": ["machine.key_buffer.rows", "machine.value_buffer.rows"],
            "values": [128, 512],
        },
        "machine.clock_hz": [0.5e9, 1e9],
    },
    "objectives": {
        "latency_ns": "min",
        "energy_pj": "min",
        "area_mm2": "min",
        "accuracy_spearman": "max",
    },
}
SHARE, SEEDS, BAR = 10, 3, 2.0
SAMPLERS: dict[str, dict[str, Any]] = {
    "nsga2": {"sampler": "nsga2"},
    "tpe": {"sampler": "tpe"},
    "bounds": {"sampler": "bounds"},
    "nsga2 without pruning": {"sampler": "nsga2", "prune": False},
    "tpe without pruning": {"sampler": "tpe", "prune": False},
}


class Judge:
    """Compares fronts with the one of all points."""

    def __init__(self, values: Any) -> None:
        self._ways = list(SPACE["objectives"].values())
        everything = self._scaled(values)
        self._best, self._range = everything.min(axis=0), np.ptp(everything, axis=0)
        self._whole = self._volume(values)
        self.front = int(front(values, self._ways).sum())

    def missing(self, values: Any) -> float:
        """Return how many percent of the hypervolume some points lack."""
        return 100 * (1 - self._volume(values) / self._whole)

    def _volume(self, values: Any) -> float:
        costs = (self._scaled(values) - self._best) / self._range
        return hypervolume(costs, ["min"] * len(self._ways), [1.1] * len(self._ways))

    def _scaled(self, values: Any) -> Any:
        logs = np.array(values, float)
        logs[:, :-1] = np.log(logs[:, :-1])
        return as_costs(logs, self._ways)


def rows(folder: Path) -> Any:
    """Return (points, objectives) of the points of a folder that were simulated."""
    with Store(folder, reading=True) as store:
        return np.array(
            [[p.row[name] for name in SPACE["objectives"]] for p in store.points() if p.row]
        )


def find(folder: Path, search: Search | None) -> Any:
    """Run a space, or a search of it in the same folder; return its objectives."""
    space = Space.of(SPACE | {"search": search})
    Sweep(space, ModelTraces(), folder).run(Processes(2), resume=True)
    return rows(folder)


def main() -> None:
    """Run everything in the folder given, or in one that is deleted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        everything = find(folder, None)
        judge, trials = Judge(everything), len(everything) // SHARE
        print(f"{len(everything):,} points, {judge.front} of them on the front; {trials} trials")
        found = []
        for name, options in SAMPLERS.items():
            missing, simulated = [], []
            for seed in range(SEEDS):
                values = find(folder, Search(trials=trials, seed=seed, **options))
                missing.append(judge.missing(values))
                simulated.append(len(values))
            bar = BAR if options.get("prune", True) else None
            what = f"{name}, {max(simulated)} points: hypervolume missing"
            found.append(Measured(f"{what}, median", median(missing), "%", bar))
            found.append(Measured(f"{what}, worst of {SEEDS}", max(missing), "%", bar))
    sys.exit(0 if show("search in a tenth of the points", found) else 1)


if __name__ == "__main__":
    main()
