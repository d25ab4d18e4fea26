"""The GPU as the bench sees it, with a stand-in for CUDA that keeps its own clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from algos.kernels import device
from algos.kernels.device import Cuda
from algos.kernels.launch import target_of
from workloads.errors import InputError

CALL_NS = 1000.0


class Clock:
    """Time that passes only when something is run."""

    def __init__(self) -> None:
        self.now_ns, self.runs, self.captured = 0.0, 0, 0
        self.capturing = False
        self.capture_fails = False

    def call(self) -> None:
        if self.capturing:
            self.captured += 1
            if self.capture_fails:
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
        else:
            self.now_ns += CALL_NS
            self.runs += 1


class Stream:
    def wait_stream(self, other: object) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a stand-in in place of `torch.cuda`."""
    clock = Clock()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = clock.now_ns

        def synchronize(self) -> None: ...

        def elapsed_time(self, end: Event) -> float:
            return (end.at - self.at) / 1e6

    class Graph:
        def replay(self) -> None:
            clock.now_ns += clock.captured * CALL_NS / 2  # a graph saves half
            clock.runs += clock.captured

    @contextlib.contextmanager
    def graph(_: Graph) -> Iterator[None]:
        clock.capturing, clock.captured = True, 0
        try:
            yield
        finally:
            clock.capturing = False

    properties = SimpleNamespace(L2_cache_size=50 << 20, name="NVIDIA H100 80GB HBM3", uuid="7")
    fakes: dict[str, Any] = {
        "is_available": lambda: True,
        "get_device_properties": lambda _: properties,
        "get_device_capability": lambda: (9, 0),
        "mem_get_info": lambda: (70 << 30, 80 << 30),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "current_stream": Stream,
        "Stream": Stream,
        "stream": lambda _: contextlib.nullcontext(),
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": graph,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(device, "ask", lambda *_: None)
    return clock


def test_no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="must have an NVIDIA GPU that torch can use, there is no"):
        Cuda()


@pytest.mark.usefixtures("clock")
def test_facts_without_a_board_that_tells() -> None:
    found = Cuda().facts()
    assert found["label"] == "measured:h100"
    assert found["driver"] is None
    assert found["power_limit_w"] is None
    assert Cuda().l2_bytes == 50 << 20


def test_facts_of_a_board(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"driver_version": "580.1", "power.limit": "700.00"}
    asked: list[tuple[str, ...]] = []

    def ask(*command: str) -> str:
        asked.append(command)
        return said[command[1].removeprefix("--query-gpu=")]

    monkeypatch.setattr(device, "ask", ask)
    found = Cuda().facts()
    assert (found["driver"], found["power_limit_w"]) == ("580.1", 700.0)
    assert asked[0][-2:] == ("-i", "GPU-7")


def test_a_round_is_replayed_as_a_graph(clock: Clock) -> None:
    timing = Cuda().time([clock.call] * 4, windows=6, window_ns=1e5)
    assert timing.mode == "graph"
    assert timing.note == ""
    assert timing.times_ns == pytest.approx([CALL_NS / 2] * 6)
    assert timing.replays == 50  # 100 us over 4 calls of 0.5 us


def test_launches_one_by_one_where_no_graph_can_be(clock: Clock) -> None:
    clock.capture_fails = True
    timing = Cuda().time([clock.call] * 4, windows=5, window_ns=1e5)
    assert timing.mode == "events"
    assert timing.note == (
        "no graph could be captured: operation not permitted when stream is capturing"
    )
    assert timing.times_ns == pytest.approx([CALL_NS] * 5)


def test_power_and_clocks_under_load(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cuda().load([clock.call], 0.1) == device.Load(None, None, None)
    asked: list[str] = []

    def ask(*command: str) -> str | None:
        asked.append(command[1])
        old = "instant" in command[1] and len(asked) == 1
        return None if old else "512.5, 1980, [N/A]"

    monkeypatch.setattr(device, "ask", ask)
    monkeypatch.setattr(device, "_SAMPLE_SECONDS", 1e-6)
    monkeypatch.setattr(device, "_elapsed_ns", slowly(device._elapsed_ns))
    assert Cuda().load([clock.call], 0.1) == device.Load(512.5, 1980.0, None)
    assert asked[:2] == [
        "--query-gpu=power.draw.instant,clocks.sm,clocks.mem",
        "--query-gpu=power.draw,clocks.sm,clocks.mem",
    ]


def slowly(elapsed: Any) -> Any:
    """Let the watcher have its turn between two loops."""
    import time

    def wrapped(round_: Any, times: int) -> float:
        time.sleep(0.01)
        return float(elapsed(round_, min(times, 10)))

    return wrapped


def test_a_first_replay_that_is_late_does_not_shorten_the_windows(clock: Clock) -> None:
    def call() -> None:
        clock.call()
        clock.now_ns += CALL_NS * 100 * (clock.runs == 3)  # first after warm-up and capture

    clock.capture_fails = True
    assert Cuda().time([call], windows=5, window_ns=1e5).replays == 100


@pytest.mark.parametrize(
    ("capability", "target"),
    [((8, 0), "sm_80"), ((8, 6), "sm_80"), ((8, 9), "sm_80"), ((9, 0), "sm_90")],
)
def test_targets(capability: tuple[int, int], target: str) -> None:
    assert target_of(capability) == target


@pytest.mark.parametrize(("capability", "said"), [((7, 5), "sm_70"), ((10, 0), "sm_100")])
def test_gpus_that_kernels_are_not_compiled_for(capability: tuple[int, int], said: str) -> None:
    with pytest.raises(InputError, match=f"must run on a GPU of sm_80, sm_90, this is of {said}"):
        target_of(capability)


def test_a_lost_device(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Cuda()
    assert not found.is_lost(RuntimeError("out of memory"))

    def broken() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    assert found.is_lost(RuntimeError("launch failed"))
