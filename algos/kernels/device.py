"""The GPU as a bench sees it: it times calls, and tells its clocks and its power."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from algos.kernels.environment import ask
from algos.kernels.launch import target_here
from workloads.errors import InputError

Call = Callable[[], Any]
_SAMPLE_SECONDS = 0.02
_POWER = ("power.draw.instant", "power.draw")
"""Fields of nvidia-smi, the best first: `power.draw` is the mean of the last second on an H100
(Yang et al., arXiv:2312.02741), idle time before the loop included; old drivers have no other."""


@dataclass(frozen=True)
class Timing:
    """Windows of one measurement."""

    times_ns: tuple[float, ...]
    """of one call, in each window"""
    replays: int
    """rounds of all calls in a window"""
    mode: str
    """`graph`: replays of a CUDA graph; `events`: launches one by one"""
    note: str = ""
    """why it is not a graph"""


@dataclass(frozen=True)
class Load:
    """What the board says while it works; None: it does not tell."""

    power_w: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None


class Device(Protocol):
    """What a bench needs of a device; tests give it a made-up one."""

    name: str
    """of torch: where tensors are made"""
    target: str
    l2_bytes: int

    def facts(self) -> dict[str, Any]:
        """Return columns of every row: `device`, `label`, `driver`, `cuda`."""

    def free_bytes(self) -> int:
        """Return the memory that operands may take."""

    def time(self, calls: Sequence[Call], windows: int, window_ns: float) -> Timing:
        """Time a round of calls, warmed up, in windows of at least so long."""

    def load(self, calls: Sequence[Call], seconds: float) -> Load:
        """Read power and clocks while the calls run over and over."""

    def is_lost(self, error: Exception) -> bool:
        """Tell whether nothing can be run any more in this process."""


def label_of(device: str) -> str:
    """Return the label of rows: "NVIDIA H100 80GB HBM3" -> "measured:h100"."""
    words = re.sub(r"nvidia|tesla|geforce", " ", device.lower()).replace("-", " ").split()
    numbered = next((at for at, word in enumerate(words) if re.search(r"\d", word)), len(words))
    return "measured:" + "-".join(words[: numbered + 1])


class Cuda:
    """The first NVIDIA GPU.

    Raises:
        InputError: there is none.
    """

    name = "cuda"

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise InputError(
                "bench gpu must have an NVIDIA GPU that torch can use, there is none; "
                "--dry-run lists what would run"
            )
        properties = torch.cuda.get_device_properties(0)
        self.target = target_here()
        self.l2_bytes = int(properties.L2_cache_size)
        self._board = f"GPU-{properties.uuid}" if hasattr(properties, "uuid") else "0"
        self._name = str(properties.name)

    def facts(self) -> dict[str, Any]:
        import torch

        return {
            "device": self._name,
            "label": label_of(self._name),
            "driver": self._query("driver_version"),
            "cuda": torch.version.cuda,
            "power_limit_w": _number(self._query("power.limit")),
            "l2_bytes": self.l2_bytes,
        }

    def free_bytes(self) -> int:
        import torch

        torch.cuda.empty_cache()  # what torch keeps of earlier rows is free too
        return int(torch.cuda.mem_get_info()[0])

    def time(self, calls: Sequence[Call], windows: int, window_ns: float) -> Timing:
        import torch

        for call in calls:  # compiles, loads and warms up
            call()
        torch.cuda.synchronize()
        round_, mode, note = _round(calls)
        once_ns = min(_elapsed_ns(round_, 1), _elapsed_ns(round_, 1))  # the first one is late
        replays = max(1, math.ceil(window_ns / once_ns))
        _elapsed_ns(round_, replays)  # clocks have risen when the first window begins
        times = tuple(_elapsed_ns(round_, replays) / (replays * len(calls)) for _ in range(windows))
        return Timing(times, replays, mode, note)

    def load(self, calls: Sequence[Call], seconds: float) -> Load:
        known = (f"{power},clocks.sm,clocks.mem" for power in _POWER)
        fields = next((fields for fields in known if self._query(fields)), None)
        if fields is None:
            return Load(None, None, None)
        round_, _, _ = _round(calls)
        replays = max(1, math.ceil(1e8 / _elapsed_ns(round_, 2) * 2))  # a tenth of a second
        told: list[list[float | None]] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_SAMPLE_SECONDS):
                answer = self._query(fields)
                told.append([_number(text) for text in (answer or "").split(",")])

        for _ in range(3):  # until power and clocks have settled
            _elapsed_ns(round_, replays)
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(max(1, math.ceil(seconds * 10))):
            _elapsed_ns(round_, replays)
        done.set()
        watcher.join()
        return Load(*(_median([row[at] for row in told if len(row) == 3]) for at in range(3)))

    def is_lost(self, error: Exception) -> bool:
        import torch

        try:
            torch.cuda.synchronize()
        except RuntimeError:  # an error of a launch stays with the process
            return True
        torch.cuda.empty_cache()
        return False

    def _query(self, fields: str) -> str | None:
        """Ask the board; None where the program is missing or refuses."""
        told = ask(
            *("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"),
            *("-i", self._board),
        )
        return told or None


def _round(calls: Sequence[Call]) -> tuple[Call, str, str]:
    """Return what runs all calls once, how, and why not as a graph."""
    import torch

    def one_by_one() -> None:
        for call in calls:
            call()

    try:
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries make their workspaces before the capture
            one_by_one()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            one_by_one()
    except RuntimeError as error:
        torch.cuda.synchronize()
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return one_by_one, "events", f"no graph could be captured: {said}"
    return graph.replay, "graph", ""


def _elapsed_ns(round_: Call, times: int) -> float:
    import torch

    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(times):
        round_()
    end.record()
    end.synchronize()
    return max(float(start.elapsed_time(end)) * 1e6, 1.0)  # milliseconds; below its resolution


def _number(text: str | None) -> float | None:
    """Return a number of nvidia-smi, which says "[N/A]" where it has none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None
