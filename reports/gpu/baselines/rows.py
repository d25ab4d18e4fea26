"""One row for each machine on each workload: simulated, modelled, measured, published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reports.gpu.baselines.cpu import cpu_rows
from reports.gpu.baselines.systems import System, read_systems
from reports.gpu.baselines.timing import LAUNCHED, Timed, Timer
from reports.gpu.baselines.workloads import WORKLOADS, Machine, Workload
from reports.gpu.lower import lower
from sim.machines import make_machine
from sim.run import simulate
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from workloads.trace import Trace

SIMULATED, MODELLED, MEASURED, PUBLISHED = "simulated", "modelled", "measured", "published"
KINDS = (SIMULATED, MODELLED, MEASURED, PUBLISHED)
DENSE, SPARSE, OWN = "dense", "sparse", "own"
NO_ENERGY = "energy: absent, no board's power was measured; its limit is no measurement"
COLUMNS: dict[str, str] = {
    "workload": "name; of a published number over several: bert, gpt2, all, gpt2-medium-token",
    "machine": "simulated machine, modelled:DEVICE or measured:DEVICE, or the published system",
    "kind": "simulated: by a cycle-level model; modelled: by the cost model of GPU kernels; "
    "measured: on this project's hosts; published: by others",
    "work": "dense: everything runs; sparse: what the trace leaves out is left out by the best "
    "kernels there are; own: as the machine's paper has it",
    "device": "name of the GPU, CPU, board or chip",
    "latency_ns": "of one sentence or token; empty: it could not be had, note says why",
    "units_per_s": "sentences or tokens a second",
    "energy_pj": "of one sentence or token; empty: absent",
    "power_w": "mean power; empty: absent",
    "dram_bytes": "transferred (simulated), or moved at the least (modelled)",
    "synthetic": "whether the sparsity was assumed or made from ratios; empty: published",
    "launched": "of kernels: one CUDA graph",
    "launches": "of kernels",
    "kernels": "name x how often it runs",
    "selection_ns": "of latency_ns: launches that only select what is kept or add up importance",
    "model_median_deviation": "of the cost model from published measurements it was not fitted "
    "to; a share",
    "model_ninth_decile_deviation": "nine of ten of them deviate by less; a share",
    "times_faster_than_dense": "dense kernels' latency on the same device over this one",
    "times_faster_than_sparse": "sparse kernels' latency on the same device over this one",
    "quantity": "of a published number",
    "value": "as published",
    "unit": "of value",
    "basis": "of a published number: measured or simulated by the authors",
    "source": "of a published number",
    "note": "what is assumed, missing or not exploited",
}
"""Columns of rows.csv."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Deviation:
    """How far the cost model is from published measurements that set none of its curves."""

    median: float
    ninth_decile: float


@dataclass
class Bench:
    """What rows are made with."""

    devices: Sequence[str]
    deviation: Deviation
    measured: list[dict[str, Any]] | None = None
    """rows of GPUs; None: those of this installation"""
    cpu: list[dict[str, Any]] | None = None
    """the same of CPUs"""
    workloads: Sequence[Workload] = WORKLOADS
    timers: list[Timer] = field(init=False)

    def __post_init__(self) -> None:
        self.timers = [Timer(device, self.measured) for device in self.devices]


def make_rows(bench: Bench, progress: Progress = lambda _: None) -> pd.DataFrame:
    """Return all rows, columns as `COLUMNS`, in the order of the workloads.

    Raises:
        InputError: a table of data that is not as it must be.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for workload in bench.workloads:
        progress(workload.title)
        rows += _of_workload(workload, bench)
    rows += [_published(system, system.workload, None, system.note) for system in read_systems()
             if system.token_ns is None]  # fmt: skip
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype({"launches": "Int64"})


def _of_workload(workload: Workload, bench: Bench) -> Iterator[dict[str, Any]]:
    trace = workload.trace()
    for machine in workload.machines:
        yield _simulated(workload, machine, trace)
    chains = {work: lower(trace, sparse=work == SPARSE) for work in (DENSE, SPARSE)}
    held = held_bytes(trace)
    for timer in bench.timers:
        timed = {work: timer.time(chain, held if work == DENSE else 0)
                 for work, chain in chains.items()}  # fmt: skip
        for work, one in timed.items():
            ratios = {name: _over(timed[other].ns, one.ns)
                      for name, other in (("times_faster_than_dense", DENSE),
                                          ("times_faster_than_sparse", SPARSE))}  # fmt: skip
            yield _of_gpu(workload, work, one, bench.deviation, trace) | ratios
    for row in cpu_rows(workload.name, trace, bench.cpu):
        yield {"workload": workload.name, "kind": MEASURED, **row}
    yield from _of_papers(workload)


def _simulated(workload: Workload, machine: Machine, trace: Trace) -> dict[str, Any]:
    own = machine.trace() if machine.trace else trace
    row: dict[str, Any] = {
        **{"workload": workload.name, "machine": machine.name, "kind": SIMULATED, "work": OWN},
        **{"device": machine.name, "synthetic": own.header.synthetic},
    }
    try:
        found = simulate(own, make_machine(machine.name)).row
    except InputError as error:
        return row | {"note": f"not simulated: {error}"}
    notes = [machine.own or workload.assumed, *([machine.note] if machine.note else [])]
    return row | {
        "latency_ns": float(found["latency_ns"]),
        "units_per_s": 1e9 / float(found["latency_ns"]),
        "energy_pj": float(found["energy_pj"]),
        "power_w": float(found["power_w"]),
        "dram_bytes": float(found["dram_transferred_bytes"]),
        "note": "; ".join(notes),
    }


def _of_gpu(
    workload: Workload, work: str, timed: Timed, deviation: Deviation, trace: Trace
) -> dict[str, Any]:
    modelled = timed.kind == MODELLED
    notes = [*timed.notes, *([] if timed.energy_pj else [NO_ENERGY])]
    kernels = ", ".join(f"{name} x {times}" for name, times in timed.kernels.items())
    return {
        **{"workload": workload.name, "machine": timed.label, "kind": timed.kind, "work": work},
        **{"device": timed.device, "latency_ns": timed.ns, "units_per_s": _over(1e9, timed.ns)},
        "energy_pj": timed.energy_pj,
        "power_w": _over(timed.energy_pj, timed.ns, 1e-3),
        "dram_bytes": timed.dram_bytes,
        "synthetic": trace.header.synthetic,
        **{"launched": LAUNCHED, "launches": timed.launches, "kernels": kernels},
        "selection_ns": None if timed.ns is None else timed.selection_ns,
        "model_median_deviation": deviation.median if modelled else None,
        "model_ninth_decile_deviation": deviation.ninth_decile if modelled else None,
        "note": "; ".join(notes),
    }


def _of_papers(workload: Workload) -> Iterator[dict[str, Any]]:
    """Yield the published latencies of a workload; parts of one system are added up."""
    parts: dict[tuple[str, str], list[System]] = {}
    for system in read_systems():
        if system.workload in workload.published and system.token_ns is not None:
            parts.setdefault((system.system, system.device), []).append(system)
    for systems in parts.values():
        known = {system.workload for system in systems}
        if known == {*workload.published}:
            total = sum(system.token_ns or 0.0 for system in systems)
            notes = list(dict.fromkeys(system.note for system in systems))
            if workload.context and systems[0].unit == "token/s":
                notes.append("its context is not stated")
            row = _published(systems[0], workload.name, total, "; ".join(notes))
            yield row | {"value": sum(system.value for system in systems)}


def _published(system: System, workload: str, ns: float | None, note: str) -> dict[str, Any]:
    return {
        **{"workload": workload, "machine": system.system, "kind": PUBLISHED, "work": OWN},
        **{"device": system.device, "latency_ns": ns, "units_per_s": _over(1e9, ns)},
        "power_w": system.power_w,
        "energy_pj": None if ns is None or system.power_w is None else system.power_w * ns * 1e3,
        **{"quantity": system.quantity, "value": system.value, "unit": system.unit},
        **{"basis": system.basis, "source": system.source, "note": note},
    }


def held_bytes(trace: Trace) -> int:
    """Return the bytes of weights and of the largest step's K and V, in half precision."""
    names = ["layer", "operator", "expert", "k_dense", "n_dense"]
    weights = trace.tables["matmul"].select(names).to_pandas().drop_duplicates(names[:3])
    products = weights["k_dense"].astype("int64") * weights["n_dense"]
    names = ["sequence", "step", "layer", "kv_head", "keys_dense", "head_dim"]
    cache = trace.tables["attention"].select(names).to_pandas().drop_duplicates(names[:4])
    cache["held"] = cache["keys_dense"].astype("int64") * cache["head_dim"]
    return int(2 * products.sum() + 4 * cache.groupby(names[:2])["held"].sum().max())


def _over(above: float | None, below: float | None, scale: float = 1.0) -> float | None:
    return None if above is None or not below else above / below * scale
