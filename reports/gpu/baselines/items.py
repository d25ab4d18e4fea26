"""The programs that the baselines' workloads launch, to be compiled and recorded."""

from __future__ import annotations

from collections.abc import Iterable

from algos.kernels.inspection import Item
from reports.gpu.baselines.timing import shape_of
from reports.gpu.baselines.workloads import WORKLOADS
from reports.gpu.lower import lower


def lowered_items(names: Iterable[str], targets: Iterable[str]) -> list[Item]:
    """Return the programs of kernels by all their ways through all workloads."""
    wanted, goals = {*names}, [*targets]
    found = []
    for workload in WORKLOADS:
        trace = workload.trace()
        chains = (lower(trace, sparse=sparse) for sparse in (False, True))
        calls = dict.fromkeys(call for chain in chains for call in chain.calls)
        for call in calls:
            if call.is_library or call.kernel not in wanted:
                continue
            kernel, shape = shape_of(call)
            label = f"{workload.name}, a baseline"
            found += [
                Item(call.kernel, label, target, program)
                for target in goals
                for program in kernel.programs(shape, target)
            ]
    return found
