"""Predict the time of kernel launches on a GPU that nobody has at hand.

A launch takes a gap, the start of its first blocks, and then the longest of its limits within the
chip, which memory never hides completely (`Curves.overlap`). The limits: bytes over DRAM and over
L2, operations over the pipes of the busiest SM, what the board's power sustains, and the chain of
steps of the blocks, wave by wave. The chain is Little's law: a block moves no more than its bytes
in flight in each latency, so the bandwidth is at most those of all resident blocks over it.

Left out: shared memory's own bandwidth, bank and sector conflicts, address translation, and clocks
that move, but for the power limit of matrix units. Rereads are taken to hit the L2 cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim.gpu.curves import DEFAULT, Curves, dram_gbps, pipe_share, sustained_share
from sim.gpu.devices import Device
from workloads.errors import InputError
from workloads.gpu_launch import PIPES, Launch, blocks_per_sm

_WARPS_TO_FILL = {"tensor_fp16": 4, "tensor_int8": 4, "fp32": 8, "int32": 8, "special": 8}
"""Warps of an SM that keep a pipe busy: one of each quarter for mma instructions, which work on
many values each (arXiv:2206.02874); two for the others (estimate: latency 4, little parallelism
within a warp)."""

_LONGEST_LAST = ("flash2_prefill", "triton_prefill")
"""Kernels that start the longest blocks of a causal mask last: FlashAttention-2 and Triton's
tutorial number blocks of queries upwards. All others start them first."""


@dataclass(frozen=True)
class Predicted:
    """Time of one launch, and what it is made of."""

    kernel: str
    ns: float
    gap_ns: float
    """between launches"""
    start_ns: float
    """of the first blocks"""
    limits_ns: dict[str, float]
    """dram, l2, pipes, power, latency: the time that each alone would take"""
    binding: str
    """launch, dram, l2, tensor, fp32, int32, special, power, latency or waves"""
    resident: int
    """blocks of an SM at once"""
    waves: float
    """blocks over those resident at once"""


@dataclass(frozen=True)
class Prediction:
    """Time of a chain of launches, modelled."""

    device: str
    ns: float
    launches: tuple[Predicted, ...]

    @property
    def label(self) -> str:
        """Name of the device for tables: what it says was modelled, never measured."""
        return f"modelled:{self.device}"

    @property
    def binding(self) -> str:
        """What binds the longest launch; "launch" if gaps and the host take most of the time."""
        busy = sum(one.ns - one.gap_ns for one in self.launches)
        if busy < self.ns / 2:
            return "launch"
        return max(self.launches, key=lambda one: one.ns).binding


def predict(
    launches: Sequence[Launch],
    device: Device,
    graph: bool = False,
    *,
    host_ns: float = 0.0,
    warm: bool = False,
    curves: Curves = DEFAULT,
) -> Prediction:
    """Return the modelled time of launches, one after another.

    Args:
        launches: programs of a chain, in order.
        device: of `sim.gpu.devices.DEVICES`.
        graph: launched as a CUDA graph, not one by one in a stream.
        host_ns: what the host needs to hand over one launch (0: it is always ahead).
        warm: operands that fit into the L2 cache are in it, as when a benchmark repeats a call.
        curves: efficiencies.

    Raises:
        InputError: no launch, a block that no SM can hold, or an operation the device lacks.
    """
    if not launches:
        raise InputError("a prediction must have at least one launch, it has none")
    found, end = [], 0.0
    for place, launch in enumerate(launches):
        one = predict_launch(launch, device, graph, warm=warm, curves=curves)
        end = max(end, host_ns * (place + 1)) + one.ns
        found.append(one)
    return Prediction(device.name, end, tuple(found))


def predict_launch(
    launch: Launch,
    device: Device,
    graph: bool = False,
    *,
    warm: bool = False,
    curves: Curves = DEFAULT,
) -> Predicted:
    """Return the modelled time of one launch; arguments as in `predict`."""
    resident = _resident(launch, device)
    rounds = _rounds(launch, device.sms)
    waves = launch.blocks / (resident * device.sms)
    start = curves.start_latencies * device.dram_ns
    cold = not warm or launch.dram_bytes > device.l2_bytes
    together = min(resident, -(-launch.blocks // device.sms)) * launch.warps
    pipes = _pipes_ns(launch, device, curves, together)
    compute = rounds * _beside(pipes, curves.exposed)
    chain, works = _chain(launch, device, curves, resident, cold)
    limits = {
        "dram": cold * launch.dram_bytes / dram_gbps(curves, device),
        "l2": launch.l2_bytes / device.l2_gbps,
        **{pipe: rounds * ns for pipe, ns in pipes.items()},
        "power": _power_ns(launch, device, curves),
        "latency": chain,
    }
    inside = max(compute, limits["power"], limits["latency"], limits["l2"])
    hidden = _norm([limits["dram"], inside], curves.overlap)
    gap = device.graph_ns if graph else device.launch_ns
    return Predicted(
        kernel=launch.kernel,
        ns=gap + start + hidden,
        gap_ns=gap,
        start_ns=start,
        limits_ns=limits,
        binding=_binding(limits, gap + start, rounds * device.sms / launch.blocks, works),
        resident=resident,
        waves=waves,
    )


def _resident(launch: Launch, device: Device) -> int:
    if launch.blocks < 1 or launch.steps < 1 or launch.warps < 1:
        raise InputError(
            f"launch {launch.kernel} must have blocks, warps and steps of at least 1, it has "
            f"{launch.blocks}, {launch.warps} and {launch.steps}"
        )
    resident = blocks_per_sm(device.limits, launch.warps, launch.registers, launch.shared_bytes)
    if resident < 1:
        raise InputError(
            f"launch {launch.kernel} must fit on an SM of {device.name}, it has {launch.warps} "
            f"warps, {launch.registers} registers a thread and {launch.shared_bytes} shared bytes"
        )
    return resident


def _rounds(launch: Launch, places: int) -> float:
    """Return the work of the busiest of equal places, in mean blocks.

    Blocks of equal length end together: the last round is a whole one. The shorter the shortest
    block (its length is taken as far below the mean as the longest is above), the better the last
    blocks fill gaps; where they are the longest, places end within one of them, half on average.
    No place ends before the longest block.
    """
    even = launch.blocks / places
    shortest = min(max(2.0 - launch.longest, 0.0), 1.0)
    tail = (math.ceil(even) - even) * shortest
    if launch.kernel in _LONGEST_LAST:
        tail += (1 - shortest) * launch.longest / 2
    return max(even + tail, launch.longest)


def _pipes_ns(launch: Launch, device: Device, curves: Curves, warps: int) -> dict[str, float]:
    """Return what each pipe of one SM needs for a mean block, with so many warps to feed it."""
    found: dict[str, float] = {}
    for name, operations in launch.operations.items():
        pipe = "fp32" if name.startswith("tensor") and name not in device.rates else name
        if pipe not in device.rates:
            raise InputError(f"launch {launch.kernel} must use pipes {PIPES}, not {name!r}")
        share = pipe_share(curves, launch.kernel, device, pipe)
        fed = min(1.0, warps / _WARPS_TO_FILL[pipe])
        rate = device.rates[pipe] * device.clock_hz / 1e9 * share * fed
        found[pipe] = found.get(pipe, 0.0) + operations / launch.blocks / rate
    return found


def _beside(pipes: Mapping[str, float], exposed: float) -> float:
    """Return the time of pipes that work beside one another, as far as they do."""
    longest = max(pipes.values(), default=0.0)
    return longest + exposed * (sum(pipes.values()) - longest)


def _power_ns(launch: Launch, device: Device, curves: Curves) -> float:
    """Return the least time in which the board's power sustains the matrix operations."""
    return sum(
        operations / (device.peak(pipe) * sustained_share(curves, device, pipe)) * 1e9
        for pipe, operations in launch.operations.items()
        if pipe.startswith("tensor") and pipe in device.rates
    )


def _chain(
    launch: Launch, device: Device, curves: Curves, resident: int, cold: bool
) -> tuple[float, bool]:
    """Return how long the blocks take one after another, and whether they work more than wait.

    Each step waits for its bytes. A block that has its SM for itself computes at the full rate of
    its warps. Later waves pay the start of a block again.
    """
    missed = cold * min(launch.dram_bytes / launch.l2_bytes, 1.0) if launch.l2_bytes else 0.0
    latency = missed * device.dram_ns + (1 - missed) * device.l2_ns
    steps = launch.steps / launch.longest  # of a mean block
    wait = latency
    if launch.inflight_bytes:
        wait *= launch.l2_bytes / launch.blocks / steps / launch.inflight_bytes
    work = _beside(_pipes_ns(launch, device, curves, launch.warps), curves.exposed)
    block = _norm([steps * wait, work], curves.overlap)
    start = curves.start_latencies * device.dram_ns
    waves = _rounds(launch, resident * device.sms)
    return waves * block + max(waves - 1.0, 0.0) * start, work > steps * wait


def _norm(values: Sequence[float], exponent: float) -> float:
    """Return the norm of times that overlap, which is at least the longest of them."""
    longest = max(values)
    if not longest:
        return 0.0
    total: float = sum((value / longest) ** exponent for value in values) ** (1 / exponent)
    return longest * total


def _binding(limits: Mapping[str, float], fixed: float, imbalance: float, works: bool) -> str:
    """Name the longest limit.

    Args:
        limits: times.
        fixed: time of the gap and the start; "launch" if it is longer.
        imbalance: work of the busiest SM over the mean; "waves" if it is a quarter more.
        works: a chain of steps rather computes than waits: its pipe is meant, not "latency".
    """
    name = max(limits, key=lambda limit: limits[limit])
    if limits[name] < fixed:
        return "launch"
    if name in (*PIPES, "latency") and imbalance > 1.25:
        return "waves"
    if name == "latency" and works:
        name = max(PIPES, key=lambda pipe: limits.get(pipe, 0.0))
    return "tensor" if name.startswith("tensor") else name
