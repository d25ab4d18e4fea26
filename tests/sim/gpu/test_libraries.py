"""Launches of published kernels: counts against brute force, and rates that are widely known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sim.gpu.devices import DEVICES, make_device
from sim.gpu.libraries import KERNELS, library_launches
from sim.gpu.libraries.attention import Attention, splits, tile_counts
from sim.gpu.libraries.matmul import Product, fastest, tiled
from sim.gpu.model import predict
from workloads.errors import InputError

DECODE = {"batch": 4, "queries": 1, "keys": 2048, "heads": 32, "kv_heads": 8, "dim": 128}
PROMPT = {**DECODE, "queries": 1024, "keys": 1024}
SHAPES = {
    "flash2-prefill": PROMPT,
    "flash2-training": {**PROMPT, "causal": 1},
    "flash3-prefill": {**PROMPT, "window": 128, "causal": 1},
    "triton-prefill": PROMPT,
    "vllm2-prefill": PROMPT,
    "mla-decode": {"batch": 4, "keys": 2048, "heads": 16},
    "mla-sparse-decode": {"batch": 4, "queries": 2, "heads": 128, "chosen": 512},
    "rmsnorm": {"rows": 64, "columns": 1000},
    "torch-topk": {"rows": 3, "columns": 1000, "kept": 17},
    "radix-topk": {"rows": 3, "columns": 1000, "kept": 17},
    "csr-vector": {"rows": 1000, "columns": 500, "density": 0.1},
    "csr-matrix": {"tokens": 7, "rows": 1000, "columns": 500, "density": 0.1},
    "sparq-decode": {**DECODE, "channels": 32, "chosen": 128},
    "quest-attention": {**DECODE, "chosen": 512},
    "hip-decode": {**DECODE, "chosen": 512},
    "mustafar-decode": {**DECODE, "density": 0.3},
    **{name: {"m": 70, "n": 1000, "k": 512} for name in ("int4-weights", "deepgemm", "sparse24")},
    **{name: {"m": 70, "n": 1000, "k": 512} for name in KERNELS if name.startswith("cublas")},
    "triton-gemm": {"m": 70, "n": 1000, "k": 512},
}
EVERYWHERE = ("cublas-fp32", "csr-vector", "csr-matrix", "torch-decode")
HOPPER_ONLY = ("flash3-prefill", "flash3-decode", "mla-sparse-decode", "deepgemm")
DATA_CENTRE = ("triton-gemm", "flash2-training", "triton-prefill")
"""need more shared memory than an SM of an RTX 4090 has"""


def _pairs() -> Iterator[tuple[str, str]]:
    for kernel in KERNELS:
        devices = ["titan-xp", "v100"] if kernel in EVERYWHERE else []
        devices += ["h100", "h200"]
        devices += [] if kernel in HOPPER_ONLY else ["a100"]
        devices += [] if kernel in (*HOPPER_ONLY, *DATA_CENTRE) else ["rtx-4090"]
        yield from ((kernel, device) for device in devices)


def _rate(kernel: str, device: str, shape: dict, flops: float) -> float:
    """Return Tflop/s."""
    launches = library_launches(kernel, shape, make_device(device))
    return flops / predict(launches, make_device(device), graph=True).ns / 1e3


@pytest.mark.parametrize(("kernel", "device"), list(_pairs()))
def test_every_kernel_runs_where_it_was_written_for(kernel: str, device: str) -> None:
    found = predict(
        library_launches(kernel, SHAPES.get(kernel, DECODE), make_device(device)),
        make_device(device),
    )
    assert 1e3 < found.ns < 1e8


@pytest.mark.parametrize(("causal", "window"), [(False, 0), (True, 0), (True, 100), (True, 128)])
@pytest.mark.parametrize(("queries", "keys"), [(1000, 1000), (77, 300), (128, 128)])
def test_tiles_visited_are_those_with_a_visible_pair(
    queries: int, keys: int, causal: bool, window: int
) -> None:
    shape = Attention(queries=queries, keys=keys, causal=causal, window=window)
    seen = []
    for first in range(0, queries, 64):
        rows = range(first, min(first + 64, queries))
        visible = {
            key // 32
            for row in rows
            for key in range(keys)
            if (not causal or key <= keys - queries + row)
            and (not window or key > keys - queries + row - window)
        }
        seen.append(len(visible))
    total, most = tile_counts(shape, 64, 32)
    assert sum(seen) <= total <= sum(seen) + 2 * len(seen)  # a tile of rows may end early
    assert max(seen) <= most <= max(seen) + 2


def test_splits_fill_the_machine() -> None:
    assert splits(512, 132, 32) == 1
    assert splits(8, 132, 32) == 16
    assert splits(1, 108, 1) == 1


def test_bytes_are_every_operand_once() -> None:
    shape = {"m": 128, "n": 4096, "k": 2048}
    for kernel, size in (("cublas-fp16", 2), ("cublas-fp32", 4)):
        first = library_launches(kernel, shape, make_device("a100"))[0]
        operands = size * (128 * 2048 + 4096 * 2048)
        assert operands < first.dram_bytes <= operands + 8 * 4 * 128 * 4096
        assert first.l2_bytes >= operands
    (decode, *_rest) = library_launches("flash2-decode", DECODE, make_device("a100"))
    cache = 2 * 4 * 2048 * 8 * 128 * 2
    assert cache < decode.dram_bytes < 1.1 * cache


@pytest.mark.parametrize("kernel", ["flash2-prefill", "flash3-prefill", "triton-prefill"])
def test_tiles_never_do_less_than_the_shape_needs(kernel: str) -> None:
    shape = {**PROMPT, "causal": 1}
    (launch,) = library_launches(kernel, shape, make_device("h100"))
    nominal = Attention(**shape).nominal_flops
    assert nominal < launch.operations["tensor_fp16"] < 1.35 * nominal
    assert launch.longest > 1.5


def test_clusters_read_weights_once() -> None:
    shape = Product(m=256, n=256, k=64)
    options = {"k_step": 64, "stages": 2, "warps": 8, "registers": 128}
    (alone,) = tiled("cublas_gemm", shape, (128, 128), **options)
    (pair,) = tiled("cublas_gemm", shape, (128, 128), **options, cluster=2)
    assert alone.l2_bytes - pair.l2_bytes == 4 * 64 * 128  # half of each of four tiles, 2 bytes


def test_the_fastest_candidate_that_moves_least_is_taken() -> None:
    device = make_device("a100")
    shape = Product(m=4096, n=4096, k=4096)
    options = {"k_step": 32, "stages": 3, "warps": 8, "registers": 128}
    found = [tiled("cublas_gemm", shape, tile, **options) for tile in ((64, 64), (128, 128))]
    assert fastest(found, device) is found[1]


# rates that are widely reported, of shapes that are not in the table of measurements
@pytest.mark.parametrize(
    ("device", "side", "low", "high"),
    [
        ("h100", 4096, 600, 800),
        ("h100", 2048, 400, 720),
        ("a100", 4096, 230, 290),
        ("a100", 2048, 170, 250),
        ("v100", 4096, 85, 120),
    ],
)
def test_known_rates_of_square_products(device: str, side: int, low: float, high: float) -> None:
    shape = {"m": side, "n": side, "k": side}
    assert low < _rate("cublas-fp16", device, shape, 2 * side**3) < high


@pytest.mark.parametrize(
    ("kernel", "device", "causal", "dim", "low", "high"),
    [
        ("flash2-prefill", "a100", 0, 128, 170, 230),
        ("flash2-prefill", "a100", 1, 64, 120, 180),
        ("flash2-prefill", "h100", 0, 128, 320, 420),
        ("flash3-prefill", "h100", 0, 128, 550, 660),
        ("flash3-prefill", "h100", 1, 64, 330, 470),
        ("triton-prefill", "h100", 0, 64, 250, 420),
    ],
)
def test_known_rates_of_attention(
    kernel: str, device: str, causal: int, dim: int, low: float, high: float
) -> None:
    heads = 2048 // dim
    shape = {"batch": 4, "queries": 4096, "keys": 4096, "dim": dim, "causal": causal}
    shape |= {"heads": heads, "kv_heads": heads}
    assert low < _rate(kernel, device, shape, Attention(**shape).nominal_flops) < high


@pytest.mark.parametrize("device", ["a100", "h100", "h200"])
@pytest.mark.parametrize("kernel", ["flash2-decode", "flashinfer-decode"])
def test_decode_time_grows_with_context_and_batch(kernel: str, device: str) -> None:
    def times(name: str, values: list[int]) -> list[float]:
        shapes = [{**DECODE, name: value} for value in values]
        gpu = make_device(device)
        return [predict(library_launches(kernel, shape, gpu), gpu).ns for shape in shapes]

    keys = [512, 2048, 8192, 32_768, 131_072]
    assert times("keys", keys) == sorted(times("keys", keys))
    batches = [1, 4, 16, 64, 128]
    assert times("batch", batches) == sorted(times("batch", batches))
    ratio = times("keys", [131_072])[0] / times("keys", [32_768])[0]
    assert ratio == pytest.approx(4, rel=0.2)


def test_few_tokens_cost_as_much_as_one() -> None:
    for device in DEVICES.values():
        if device.architecture not in ("ampere", "hopper"):
            continue
        one, sixteen, many = (
            predict(
                library_launches("cublas-fp16", {"m": m, "n": 8192, "k": 8192}, device), device
            ).ns
            for m in (1, 16, 2048)
        )
        assert sixteen < 1.25 * one
        assert many > 4 * one


def test_int4_weights_gain_at_few_tokens_and_lose_their_gain_at_many() -> None:
    device = make_device("a100")

    def gain(m: int) -> float:
        shape = {"m": m, "n": 16_384, "k": 8192}
        times = [
            predict(library_launches(name, shape, device), device).ns
            for name in ("cublas-fp16", "int4-weights")
        ]
        return times[0] / times[1]

    assert 2.5 < gain(1) < 4
    assert gain(1) > gain(64) > gain(512)
    assert gain(512) < 1.3


@pytest.mark.parametrize(("device", "low", "high"), [("a100", 1.3, 1.8), ("h100", 1.0, 1.5)])
def test_sparse_matrix_units_gain_less_than_twice(device: str, low: float, high: float) -> None:
    """Published gains at this size: 1.6 on an A100, 1.2 on an H100 (CUDALibrarySamples)."""
    gpu, shape = make_device(device), {"m": 8192, "n": 8192, "k": 8192}
    dense, sparse = (
        predict(library_launches(name, shape, gpu), gpu).ns for name in ("cublas-fp16", "sparse24")
    )
    assert low < dense / sparse < high


def test_unknown_kernels_and_fields_are_refused() -> None:
    with pytest.raises(InputError, match="flash2-decode"):
        library_launches("flash2-decod", DECODE, make_device("a100"))
    with pytest.raises(InputError, match="shape of cublas-fp16"):
        library_launches("cublas-fp16", {"m": 1, "n": 2}, make_device("a100"))
    with pytest.raises(InputError, match="chosen"):
        library_launches("hip-decode", DECODE, make_device("a100"))
