"""Times of a chain of kernels on a device: measured where all of it was, else modelled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from algos.kernels import make_kernel
from algos.kernels.plan import OWN, size_of
from reports.gpu.lower import LIBRARY, STREAM, Call, Chain
from reports.gpu.measured import GPU, measured_rows
from reports.gpu.record import launches
from sim.gpu.devices import Device, make_device
from sim.gpu.libraries import library_launches
from sim.gpu.libraries.attention import stream
from sim.gpu.model import predict
from workloads.errors import InputError
from workloads.gpu_launch import Launch

LAUNCHED = "CUDA graph"
MEMORY_GB = {
    **{"titan-xp": 12, "a100": 80, "a100-40": 40, "h100": 80, "h800": 80, "h200": 141},
    **{"rtx-4090": 24, "rtx-6000-ada": 48},
}
"""NVIDIA's data sheets; a device that is not here is not checked."""
_WITHOUT_TRITON = ("pascal", "volta")
_SPARSE_UNITS = "mma.sp"


@dataclass(frozen=True)
class Timed:
    """A chain on a device."""

    device: str
    kind: str
    """modelled or measured"""
    ns: float | None
    """None: a kernel is missing, or does not run there"""
    energy_pj: float | None
    """of the board, where every kernel's was measured"""
    dram_bytes: int | None
    launches: int
    kernels: Mapping[str, int]
    """name -> how often it runs, of the fastest ways"""
    selection_ns: float
    """of them, of operations that only select what is kept, or add up its importance"""
    notes: tuple[str, ...]
    """sentences: what is missing, what is not exploited, what was assumed of the device"""

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"{self.kind}:{self.device}"


@dataclass(frozen=True)
class _Cost:
    ns: float
    launches: tuple[Launch, ...]


class Timer:
    """Times chains on one device; each call is predicted once."""

    def __init__(self, device: str, rows: list[dict[str, Any]] | None = None) -> None:
        """Take a device of the cost model.

        Args:
            device: name of `sim.gpu.devices.DEVICES`.
            rows: that were measured; None: those of this installation.

        Raises:
            InputError: no such device, with the nearest.
        """
        self._device = make_device(device)
        known = measured_rows(GPU) if rows is None else rows
        self._measured = {
            (row["kernel"], row["size"]): (float(row["median_ns"]), row.get("energy_pj"))
            for row in known
            if row["label"] == f"measured:{device}" and row["share"] is None
            and (row["implementation"] == OWN or row["kernel"].startswith("dense-gem"))
        }  # fmt: skip
        self._costs: dict[Call, _Cost | str] = {}

    def time(self, chain: Chain, held_bytes: int = 0) -> Timed:
        """Return the time of a chain: the sum of its kernels, each by its fastest way.

        Args:
            chain: what is launched.
            held_bytes: weights and K and V that must fit the device's memory.
        """
        notes = [*chain.notes, *self._about()]
        problems = [*chain.missing, *self._too_large(held_bytes)]
        chosen: Counter[Call] = Counter()
        selecting: Counter[Call] = Counter()
        for operation, times in chain.operations.items():
            costs = {way: self.cost(way) for way in operation.ways}
            known = {way: cost for way, cost in costs.items() if isinstance(cost, _Cost)}
            said = [cost for cost in costs.values() if isinstance(cost, str)]
            if known:
                fastest = min(known, key=lambda way: known[way].ns)
                chosen[fastest] += times
                selecting[fastest] += times * operation.selects
                notes += said
            else:
                problems += said
        measured = [call for call in chosen if self._found(call) is not None]
        kind = "measured" if measured and len(measured) == len(chosen) else "modelled"
        if measured and kind == "modelled":
            notes.append(
                f"{len(measured)} of {len(chosen)} different kernel calls were measured on this "
                "device; all are modelled here, so that no sum mixes both"
            )
        return self._timed(chosen, selecting, kind, problems, notes)

    def cost(self, call: Call) -> _Cost | str:
        """Return the modelled time of one call, or a sentence that says why there is none."""
        if call not in self._costs:
            try:
                found = self._launches(call)
                ns = predict(found, self._device, graph=True).ns
                self._costs[call] = _Cost(ns, tuple(found))
            except InputError as error:
                self._costs[call] = str(error)
        return self._costs[call]

    def _timed(
        self,
        chosen: Counter[Call],
        selecting: Counter[Call],
        kind: str,
        problems: list[str],
        notes: list[str],
    ) -> Timed:
        ns, selection_ns, moved, count = 0.0, 0.0, 0, 0
        kernels: Counter[str] = Counter()
        energies: list[float | None] = []
        for call, times in chosen.items():
            cost = self.cost(call)
            assert isinstance(cost, _Cost)
            found = self._found(call) if kind == "measured" else None
            one = found[0] if found else cost.ns
            ns += times * one
            selection_ns += selecting[call] * one
            energies.append(times * found[1] if found and found[1] else None)
            moved += times * sum(launch.dram_bytes for launch in cost.launches)
            count += times * len(cost.launches)
            kernels[call.kernel] += times
        lacking = bool(problems) or not chosen
        said = [f"not timed: {problem}" for problem in problems] + notes
        return Timed(
            device=self._device.name,
            kind=kind,
            ns=None if lacking else ns,
            energy_pj=None if lacking or None in energies else sum(filter(None, energies)),
            dram_bytes=None if lacking else moved,
            launches=count,
            kernels=dict(kernels),
            selection_ns=selection_ns,
            notes=tuple(dict.fromkeys(said)),
        )

    def _launches(self, call: Call) -> list[Launch]:
        numbers = call.numbers
        if call.kernel == STREAM:
            return [stream(STREAM, **numbers)]
        if call.kernel == LIBRARY:
            return library_launches(LIBRARY, numbers, self._device)
        kernel, shape = shape_of(call)
        target = target_of(self._device)
        if self._device.architecture in _WITHOUT_TRITON:
            wanted = [
                text
                for promise in kernel.promises.values()
                for text in promise.instructions.get(target, ())
            ]
            if _SPARSE_UNITS in wanted:
                raise InputError(
                    f"{call.kernel} must have sparse matrix units, {self._device.title} has none"
                )
        return launches(kernel, shape, target)

    def _found(self, call: Call) -> tuple[float, float | None] | None:
        if call.kernel == LIBRARY:
            size = {"tokens": call.numbers["m"], "rows": call.numbers["n"]}
            text = json.dumps(size | {"inputs": call.numbers["k"]}, sort_keys=True,
                              separators=(",", ":"))  # fmt: skip
            names = ("dense-gemv", "dense-gemm")
            return next((self._measured[name, text] for name in names
                         if (name, text) in self._measured), None)  # fmt: skip
        if call.is_library:
            return None
        return self._measured.get((call.kernel, size_of(shape_of(call)[1])))

    def _about(self) -> list[str]:
        if self._device.architecture not in _WITHOUT_TRITON:
            return []
        return [
            f"no compiler of these kernels knows {self._device.title}: taken with the resources "
            "of sm_80, at the card's own rates"
        ]

    def _too_large(self, held_bytes: int) -> list[str]:
        memory = MEMORY_GB.get(self._device.name, float("inf"))
        if held_bytes <= memory * 1e9:
            return []
        return [
            f"{held_bytes / 1e9:.1f} GB of weights, K and V do not fit the {memory} GB of "
            f"{self._device.title}"
        ]


def shape_of(call: Call) -> tuple[Any, Any]:
    """Return the kernel and the shape of a call.

    Raises:
        InputError: a shape that the kernel does not support.
    """
    kernel = make_kernel(call.kernel)
    kind = type(next(iter(kernel.papers.values())))
    known = {name: value for name, value in call.shape if name in kind.model_fields}
    return kernel, kind(**known)


def target_of(device: Device) -> str:
    """Return what kernels are compiled for on a device."""
    return "sm_90" if device.architecture in ("hopper", "blackwell") else "sm_80"
