"""Measure kernels on a GPU: a row for each case, written at once.

A kernel is timed only where its results are right on that device. One that fails costs its own
rows. The operands of a round of calls are several times the L2 cache, so none is read from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algos.kernels.base import Kernel
from algos.kernels.device import Call, Device
from algos.kernels.environment import environment
from algos.kernels.launch import launch
from algos.kernels.numerics import Numerics, check
from algos.kernels.plan import OWN, Case, Settings, describe
from algos.kernels.rows import Row, Rows
from algos.kernels.spread import spread

_PIPES = {"tensor_fp16": "matmul_fp16", "tensor_int8": "matmul_int8", "fp32": "matmul_fp32"}


@dataclass(frozen=True)
class Ceilings:
    """Rates of the device, measured in the same run; None: torch has no such product there."""

    copy_bytes_per_s: float | None = None
    matmul_fp16_flops_per_s: float | None = None
    matmul_int8_flops_per_s: float | None = None
    matmul_fp32_flops_per_s: float | None = None


def left(cases: Sequence[Case], rows: Mapping[str, Row], device: str, target: str) -> list[Case]:
    """Return the cases that have no measured row of the same code and device yet."""

    def is_measured(case: Case) -> bool:
        row = rows.get(case.key, {"status": ""})
        if row["status"] != "measured" or row["device"] != device:
            return False
        now = describe(case, target)  # another grid is other code, with the same hash
        return all(row[name] == now[name] for name in ("sha256", "programs"))

    return [case for case in cases if not is_measured(case)]


def bench(
    cases: Sequence[Case], device: Device, store: Rows, settings: Settings, ceilings: Ceilings
) -> None:
    """Measure cases in order; each is in the store before the next one begins.

    Ends early where the device is lost to this process: what then has no row may be measured in
    another.
    """
    where = {**device.facts(), **environment("torch", "triton")}
    checked: dict[str, Numerics] = {}
    lost = False
    for case in cases:
        row: Row = {"key": case.key, "status": "failed", "reason": "", **_named(case), **where}
        if lost and case.kernel not in checked:
            return
        try:
            kernel, shape = case.make()
            row |= describe(case, device.target)
            if not case.beside and case.kernel not in checked:
                checked[case.kernel], lost = _checked(kernel, device)
            if not case.beside and checked[case.kernel].broken:
                row |= {"status": "refused", "reason": checked[case.kernel].broken}
            elif lost:
                return
            else:
                row |= {"error": None if case.beside else checked[case.kernel].error}
                row |= measure(kernel, shape, case, device, settings)
                row |= rates(row, ceilings) | {"status": "measured"}
        except Exception as error:
            row["reason"] = _said(error)
            store.append(row)
            if device.is_lost(error):
                return
        else:
            store.append(row)


def _checked(kernel: Kernel, device: Device) -> tuple[Numerics, bool]:
    """Compare a kernel with its twin; also tell whether the device is lost by it."""
    try:
        return check(kernel, device.name), False
    except Exception as error:
        broken = f"{kernel.name} must be comparable with its naive twin: {_said(error)}"
        return Numerics(math.inf, broken), device.is_lost(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def measure(
    kernel: Kernel, shape: Any, case: Case, device: Device, settings: Settings
) -> dict[str, Any]:
    """Return the times of one case, and power where it is of a paper's shape."""
    inputs = kernel.inputs(shape, 0, device.name)
    first = kernel.buffers(shape, inputs)
    size = sum(t.numel() * t.element_size() for t in (*inputs.values(), *first.values()))
    moved = min(size, kernel.count(shape).dram_bytes)  # a sparse kernel leaves operands unread
    count = copies(size, moved, device.l2_bytes, device.free_bytes(), settings)
    calls: list[Call] = []
    for at in range(count):
        own = inputs if at == 0 else {name: tensor.clone() for name, tensor in inputs.items()}
        calls.append(_call(kernel, shape, case, own))
    of_paper = case.share is None
    windows = settings.windows if of_paper else settings.sweep_windows
    timing = device.time(calls, windows, settings.window_ns)
    times = spread(timing.times_ns)
    load = device.load(calls, settings.load_seconds) if of_paper else None
    power = load.power_w if load else None
    return {
        "median_ns": times.median_ns,
        "p10_ns": times.p10_ns,
        "p90_ns": times.p90_ns,
        "windows": times.windows,
        "replays": timing.replays,
        "timing": timing.mode,
        "timing_note": timing.note,
        "copies": count,
        "rotated_bytes": count * moved,
        "cold": count * moved >= 2 * device.l2_bytes,
        "power_w": power,
        "energy_pj": power * times.median_ns * 1e3 if power else None,
        "sm_clock_mhz": load.sm_clock_mhz if load else None,
        "memory_clock_mhz": load.memory_clock_mhz if load else None,
    }


def copies(size: int, moved: int, l2_bytes: int, free_bytes: int, settings: Settings) -> int:
    """Return how many copies of operands make a round that no cache holds; at least one.

    Args:
        size: bytes of operands and results; copies take half of the free memory.
        moved: bytes of them that a call reads or writes.
        l2_bytes: of the cache.
        free_bytes: of the memory.
        settings: `most_copies` bounds them.
    """
    wanted = max(2, math.ceil(settings.cold_factor * l2_bytes / moved))
    room = free_bytes // 2 // size + 1  # the first one is there already
    return max(1, min(wanted, settings.most_copies, room))


def rates(row: Row, ceilings: Ceilings) -> dict[str, Any]:
    """Return a row's rates and its shares of the measured ceilings."""
    seconds = row["median_ns"] * 1e-9
    bytes_per_s, flops_per_s = row["dram_bytes"] / seconds, row["flops"] / seconds
    matmul = getattr(ceilings, f"{_PIPES[row['unit']]}_flops_per_s")
    copy = ceilings.copy_bytes_per_s
    return {
        "bytes_per_s": bytes_per_s,
        "flops_per_s": flops_per_s,
        "copy_share": bytes_per_s / copy if copy else None,
        "matmul_share": flops_per_s / matmul if matmul else None,
        "ceiling_bytes_per_s": copy,
        "ceiling_flops_per_s": matmul,
    }


def _named(case: Case) -> dict[str, Any]:
    return {
        "kernel": case.kernel,
        "shape": case.shape,
        "size": case.size,
        "share": case.share,
        "implementation": case.implementation,
        "control": case.control,
        "control_size": case.control_size,
        "beside": case.beside,
    }


def _call(kernel: Kernel, shape: Any, case: Case, inputs: Mapping[str, Any]) -> Call:
    if case.implementation != OWN:
        return kernel.torch_call(shape, inputs)
    buffers = kernel.buffers(shape, inputs)
    return lambda: launch(kernel, shape, inputs, buffers)
