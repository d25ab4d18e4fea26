"""What must hold of every prediction, whatever the curves are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.gpu.curves import DEFAULT, Curves, dram_gbps
from sim.gpu.devices import DEVICES, make_device
from sim.gpu.model import predict, predict_launch
from workloads.errors import InputError
from workloads.gpu_launch import Launch

A100, H100, H200, XP = (make_device(name) for name in ("a100", "h100", "h200", "titan-xp"))
STREAM = Launch(
    kernel="copy",
    blocks=20_000,
    warps=4,
    registers=32,
    shared_bytes=0,
    dram_bytes=10**9,
    l2_bytes=10**9,
    inflight_bytes=50_000,
)

launches = st.builds(
    Launch,
    kernel=st.sampled_from(["mine", "cublas_gemm", "flash2_prefill", "flash3_prefill"]),
    blocks=st.integers(1, 5000),
    warps=st.integers(1, 8),
    registers=st.integers(16, 255),
    shared_bytes=st.integers(0, 48_000),
    dram_bytes=st.integers(0, 10**9),
    l2_bytes=st.integers(10**9, 10**10),
    operations=st.fixed_dictionaries(
        {
            "tensor_fp16": st.floats(0, 1e13),
            "special": st.floats(0, 1e10),
            "fp32": st.floats(0, 1e12),
        }
    ),
    steps=st.integers(1, 1000),
    inflight_bytes=st.integers(1, 200_000),
    longest=st.floats(1.0, 2.0),
)
devices = st.sampled_from(list(DEVICES.values()))


def ns(launch: Launch, device=A100, **options) -> float:
    return predict([launch], device, **options).ns


@settings(deadline=None)
@given(launch=launches, device=devices)
def test_no_time_is_below_a_bound(launch: Launch, device) -> None:
    found = predict_launch(launch, device)
    for name, bound in found.limits_ns.items():
        assert found.ns >= bound * (1 - 1e-9), name
    assert found.ns >= launch.dram_bytes / device.dram_gbps
    assert found.ns >= launch.l2_bytes / device.l2_gbps * (1 - 1e-9)
    for pipe, operations in launch.operations.items():
        if device.peak(pipe):
            assert found.ns >= operations / device.peak(pipe) * 1e9
    assert found.ns >= found.gap_ns + found.start_ns
    assert found.resident >= 1


@settings(deadline=None)
@given(launch=launches, device=devices, more=st.floats(1.0, 10.0))
def test_more_work_never_takes_less_time(launch: Launch, device, more: float) -> None:
    before = ns(launch, device)
    bytes_ = replace(launch, dram_bytes=int(launch.dram_bytes * more))
    rereads = replace(launch, l2_bytes=int(launch.l2_bytes * more))
    operations = replace(
        launch, operations={pipe: count * more for pipe, count in launch.operations.items()}
    )
    steps = replace(launch, steps=int(launch.steps * more))
    for heavier in (bytes_, rereads, operations, steps):
        assert ns(heavier, device) >= before * (1 - 1e-9)


@settings(deadline=None)
@given(launch=launches, device=devices, more=st.integers(1, 4000))
def test_more_blocks_of_the_same_work_never_take_less(launch: Launch, device, more: int) -> None:
    blocks = launch.blocks + more
    scale = blocks / launch.blocks
    heavier = replace(
        launch,
        blocks=blocks,
        dram_bytes=math.ceil(launch.dram_bytes * scale),
        l2_bytes=math.ceil(launch.l2_bytes * scale),
        operations={pipe: count * scale for pipe, count in launch.operations.items()},
    )
    assert ns(heavier, device) >= ns(launch, device) * (1 - 1e-6)


@settings(deadline=None)
@given(launch=launches, device=devices)
def test_graph_warm_cache_and_ahead_host_never_take_longer(launch: Launch, device) -> None:
    plain = ns(launch, device)
    assert ns(launch, device, graph=True) < plain
    assert ns(launch, device, warm=True) <= plain
    assert ns(launch, device, host_ns=1e6) == pytest.approx(plain + 1e6)


@settings(deadline=None)
@given(launch=launches, share=st.floats(0.2, 0.9))
def test_better_curves_never_take_longer(launch: Launch, share: float) -> None:
    worse = Curves(
        **{
            name: value * share if value < 1 and name != "exposed" else value
            for name, value in DEFAULT.__dict__.items()
        }
    )
    assert ns(launch, H100, curves=worse) >= ns(launch, H100) * (1 - 1e-9)


def test_a_long_stream_reaches_the_bandwidth() -> None:
    rate = STREAM.dram_bytes / ns(STREAM)
    assert 0.9 * dram_gbps(DEFAULT, A100) < rate < dram_gbps(DEFAULT, A100)
    found = predict([STREAM], A100)
    assert found.binding == "dram"
    assert found.label == "modelled:a100"


def test_bytes_in_flight_bound_the_bandwidth() -> None:
    thin = replace(STREAM, blocks=108, inflight_bytes=1024, steps=1000)
    littles = 108 * 1024 / A100.dram_ns  # bytes a ns
    assert predict([thin], A100).binding == "latency"
    assert STREAM.dram_bytes / ns(thin) == pytest.approx(littles, rel=0.02)
    assert ns(replace(thin, inflight_bytes=2048)) == pytest.approx(ns(thin) / 2, rel=0.02)


def test_a_chain_of_dependent_steps_takes_their_latencies() -> None:
    chain = Launch("chain", 1, 4, 32, 0, dram_bytes=4, l2_bytes=4, steps=10_000)
    assert ns(chain) == pytest.approx(10_000 * A100.dram_ns, rel=0.01)
    cached = replace(chain, l2_bytes=40_000)
    assert ns(cached) == pytest.approx(10_000 * A100.l2_ns, rel=0.01)


def test_one_block_too_many_costs_a_wave() -> None:
    def gemm(blocks: int) -> Launch:
        operations = {"tensor_fp16": 1e9 * blocks}
        return Launch("cublas_gemm", blocks, 8, 255, 100_000, 0, 0, operations)

    full, over = predict([gemm(108)], A100), predict([gemm(109)], A100)
    assert full.launches[0].resident == 1
    assert over.ns > 1.9 * full.ns
    assert full.binding == "tensor"
    assert over.binding == "waves"


def test_uneven_blocks_wait_for_the_longest() -> None:
    even = Launch("mine", 10_800, 8, 255, 100_000, 0, 0, {"fp32": 1e12})
    assert ns(replace(even, longest=2.0)) == pytest.approx(ns(even), rel=0.01)
    few = replace(even, blocks=108)
    assert ns(replace(few, longest=2.0)) == pytest.approx(2 * ns(few), rel=0.01)
    last = replace(even, kernel="flash2_prefill", longest=2.0)
    assert ns(last) == pytest.approx(ns(replace(last, longest=1.0)) * 1.01, rel=1e-3)


def test_few_warps_cannot_feed_a_pipe() -> None:
    lone = Launch("mine", 108, 1, 32, 0, 0, 0, {"fp32": 1e10})
    assert ns(lone) > 7 * ns(replace(lone, warps=8))


def test_devices_keep_their_order() -> None:
    assert ns(STREAM, H200) < ns(STREAM, H100) < ns(STREAM, A100) < ns(STREAM, XP)
    heavy = Launch("cublas_gemm", 10_000, 8, 128, 40_000, 0, 0, {"tensor_fp16": 1e13})
    assert ns(heavy, H100) < ns(heavy, A100) < ns(heavy, make_device("v100")) < ns(heavy, XP)


def test_products_run_on_lanes_where_matrix_units_are_missing() -> None:
    heavy = Launch("mine", 3000, 8, 64, 0, 0, 0, {"tensor_fp16": 1e12, "fp32": 1e12})
    assert ns(heavy, XP) == pytest.approx(2e12 / XP.peak("fp32") * 1e9, rel=0.01)


def test_a_chain_adds_its_launches_and_waits_for_the_host() -> None:
    assert predict([STREAM, STREAM], A100).ns == pytest.approx(2 * ns(STREAM))
    tiny = replace(STREAM, blocks=1, dram_bytes=64, l2_bytes=64)
    slow = predict([tiny] * 10, A100, host_ns=50_000)
    assert slow.ns == pytest.approx(10 * 50_000 + ns(tiny))
    assert slow.binding == "launch"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shared_bytes": 300_000}, "fit on an SM"),
        ({"registers": 255, "warps": 64}, "fit on an SM"),
        ({"blocks": 0}, "at least 1"),
        ({"operations": {"fp64": 1.0}}, "pipes"),
    ],
)
def test_impossible_launches_are_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        predict([replace(STREAM, **change)], A100)


def test_no_launch_is_refused() -> None:
    with pytest.raises(InputError, match="at least one launch"):
        predict([], A100)
