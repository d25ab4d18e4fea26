"""The programs that traces launch, to be compiled: those of the baselines' workloads, recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from algos.kernels.inspection import Item
from reports.gpu.baselines.timing import shape_of
from reports.gpu.baselines.workloads import WORKLOADS
from reports.gpu.lower import lower
from workloads.errors import InputError
from workloads.trace import Trace


def lowered_items(names: Iterable[str], targets: Iterable[str]) -> list[Item]:
    """Return the programs of kernels by all their ways through all workloads."""
    wanted, goals = {*names}, [*targets]
    found = []
    for workload in WORKLOADS:
        found += trace_items(workload.trace(), f"{workload.name}, a baseline", wanted, goals)
    return found


def trace_items(
    trace: Trace, label: str, names: Collection[str], targets: Collection[str]
) -> list[Item]:
    """Return the programs of kernels by all their ways through a trace, dense and sparse.

    A shape that a kernel does not support has none; whoever times it is told why.
    """
    chains = (lower(trace, sparse=sparse) for sparse in (False, True))
    found = []
    for call in dict.fromkeys(call for chain in chains for call in chain.calls):
        if call.is_library or call.kernel not in names:
            continue
        try:
            kernel, shape = shape_of(call)
        except InputError:
            continue
        found += [
            Item(call.kernel, label, target, program)
            for target in targets
            for program in kernel.programs(shape, target)
        ]
    return found
