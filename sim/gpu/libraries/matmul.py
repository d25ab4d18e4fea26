"""Matrix products of libraries as launches: tiles, split-K, quantized and 2:4 sparse weights.

`m` counts tokens, `n` outputs, `k` inputs. A library chooses among its tiles by its own estimate of
time; the model's stands in for it. The list of tiles is an estimate: the ones that profiles of
cuBLAS show most often (kernel names such as ampere_fp16_s16816gemm_fp16_128x128).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from sim.gpu.devices import Device
from sim.gpu.libraries.attention import stream
from sim.gpu.model import predict
from workloads.gpu_launch import Launch, blocks_per_sm

SPLITS = (1, 2, 4, 8)
_TILES = ((256, 128), (128, 256), (128, 128), (64, 256), (128, 64), (64, 128), (64, 64))
_SLIM_TILES = ((16, 128), (16, 256), (32, 128), (32, 256), *_TILES)
"""of kernels for four-bit weights, which are made for few tokens"""
_SGEMM_TILES = ((64, 128), (128, 128))
"""of single precision on Maxwell and Pascal"""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A matrix product of activations (m x k) and weights (n x k), and what is special of it."""

    m: int
    n: int
    k: int
    pipe: str = "tensor_fp16"
    activation_bytes: float = 2
    weight_bytes: float = 2
    """of an element of the weights, scales included"""
    result_bytes: float = 2
    unpack: float = 0.0
    """int32 operations a weight, to unpack it"""
    kept: float = 1.0
    """share of the dense product's operations: 0.5 on sparse matrix units"""

    @property
    def operands_bytes(self) -> int:
        """Every operand once."""
        return round(
            self.m * self.k * self.activation_bytes
            + self.n * self.k * self.weight_bytes
            + self.m * self.n * self.result_bytes
        )


def tiled(
    kernel: str,
    shape: Product,
    tile: tuple[int, int],
    *,
    k_step: int,
    stages: int,
    warps: int,
    registers: int,
    parts: int = 1,
    cluster: int = 1,
) -> list[Launch]:
    """Return a product in tiles of (tokens, outputs), k cut in parts that a last kernel adds.

    A cluster of blocks, one above the other, reads its weights once (TMA multicast of Hopper).
    """
    rows, columns = -(-shape.m // tile[0]), -(-shape.n // tile[1])
    shared = min(cluster, rows)
    blocks = rows * columns * parts
    steps = -(-shape.k // (k_step * parts))
    read = (
        min(tile[0], shape.m) * shape.activation_bytes
        + min(tile[1], shape.n) * shape.weight_bytes / shared
    )
    full = tile[0] * shape.activation_bytes + tile[1] * shape.weight_bytes
    result = shape.m * shape.n * (4.0 * parts if parts > 1 else shape.result_bytes)
    operations = {shape.pipe: 2.0 * blocks * tile[0] * tile[1] * steps * k_step * shape.kept}
    if shape.unpack:
        operations["int32"] = shape.unpack * rows * shape.n * shape.k
    main = Launch(
        kernel=kernel,
        blocks=blocks,
        warps=warps,
        registers=registers,
        shared_bytes=round(full * k_step * stages),
        dram_bytes=round(shape.operands_bytes + result - shape.m * shape.n * shape.result_bytes),
        l2_bytes=round(blocks * read * steps * k_step + result),
        operations=operations,
        steps=steps,
        inflight_bytes=max(1, round((stages - 1) * read * k_step)),
    )
    if parts == 1:
        return [main]
    return [main, stream("splitk_reduce", round(result), round(shape.m * shape.n * 2))]


def _candidates(kernel: str, shape: Product, device: Device) -> Iterator[list[Launch]]:
    if shape.pipe == "fp32":
        for tile in _SGEMM_TILES:
            warps = tile[0] * tile[1] // 2048
            yield tiled(kernel, shape, tile, k_step=8, stages=2, warps=warps, registers=128)
        return
    hopper = device.architecture in ("hopper", "blackwell")
    tiles = _SLIM_TILES if shape.unpack else _TILES
    for tile, parts in product(tiles, SPLITS):
        size = tile[0] * tile[1]
        accumulators = 2 if hopper and size > 8192 else 1  # consumer warpgroups
        warps = 4 * (accumulators + 1) if hopper else 8 if size > 16_384 else 4
        k_step, stages = (64, 4) if hopper else (32, 2 if device.architecture == "volta" else 4)
        found = tiled(
            kernel,
            shape,
            tile,
            k_step=round(k_step * 2 / max(shape.activation_bytes, 1)),
            stages=stages,
            warps=warps,
            registers=168 if hopper else min(255, 64 + size // (32 * warps)),
            parts=parts,
            cluster=2 if hopper else 1,
        )
        first = found[0]
        if blocks_per_sm(device.limits, first.warps, first.registers, first.shared_bytes):
            yield found


def best(kernel: str, shape: Product, device: Device) -> list[Launch]:
    """Return the tile and the split that the model finds fastest."""
    return fastest(_candidates(kernel, shape, device), device)


def fastest(candidates: Iterable[list[Launch]], device: Device) -> list[Launch]:
    """Return the candidate of least modelled time; within 2 %, the one that moves least."""
    found = [(predict(launches, device).ns, launches) for launches in candidates]
    least = min(ns for ns, _ in found)
    equal = [launches for ns, launches in found if ns <= 1.02 * least]
    return min(equal, key=lambda launches: sum(launch.l2_bytes for launch in launches))


def gemv(shape: Product, device: Device) -> list[Launch]:
    """Return a product of one token: eight outputs a block, 64 bytes a thread in flight
    (estimates)."""
    outputs, threads = 8, 128
    blocks = -(-shape.n // outputs)
    of_block = outputs * shape.k * shape.weight_bytes
    in_flight = 64 * threads
    operations = {"fp32": 2.0 * shape.n * shape.k}
    if shape.unpack:
        operations["int32"] = shape.unpack * shape.n * shape.k
    return [
        Launch(
            kernel="cublas_gemv",
            blocks=blocks,
            warps=threads // 32,
            registers=64,
            shared_bytes=1024,
            dram_bytes=shape.operands_bytes,
            l2_bytes=round(blocks * (of_block + shape.k * shape.activation_bytes)),
            operations=operations,
            steps=max(1, round(of_block / in_flight)),
            inflight_bytes=in_flight,
        )
    ]


def cublas(m: int, n: int, k: int, device: Device, *, dtype: str = "fp16") -> list[Launch]:
    """cuBLAS: fp16 or bf16, fp8 and int8 on matrix units, fp32 on lanes; GEMV for one token."""
    eight = dtype in ("fp8", "int8")
    size = 4.0 if dtype == "fp32" else 1.0 if eight else 2.0
    pipe = "fp32" if dtype == "fp32" else "tensor_int8" if eight else "tensor_fp16"
    shape = Product(
        m=m,
        n=n,
        k=k,
        pipe=pipe,
        activation_bytes=size,
        weight_bytes=size,
        result_bytes=max(size, 2.0),
    )
    return gemv(shape, device) if m == 1 else best("cublas_gemm", shape, device)


def int4_weights(m: int, n: int, k: int, device: Device) -> list[Launch]:
    """Half-precision product with four-bit weights, a scale of two bytes for 128 of them.

    Unpacking takes about 1.5 integer operations a weight (estimate: a bit operation and half a
    fused multiply-add for two weights, and moving them to where mma wants them).
    """
    shape = Product(m=m, n=n, k=k, weight_bytes=0.5 + 2 / 128, unpack=1.5)
    return gemv(shape, device) if m == 1 else best("cutlass_w4a16", shape, device)


def deepgemm(m: int, n: int, k: int, device: Device) -> list[Launch]:
    """DeepGEMM: fp8 operands, scales of 128, results in bf16; no split-K (its README)."""
    shape = Product(
        m=m,
        n=n,
        k=k,
        pipe="tensor_int8",
        activation_bytes=1 + 4 / 128,
        weight_bytes=1.0,
    )
    tiles = [(rows, columns) for rows in (64, 128) for columns in range(16, 161, 16)]
    found = [
        tiled(
            "deepgemm_fp8",
            shape,
            tile,
            k_step=128,
            stages=5,
            warps=12 if tile[0] == 128 else 8,
            registers=168,
            cluster=2,
        )
        for tile in tiles
    ]
    return fastest(found, device)


def sparse24(m: int, n: int, k: int, device: Device) -> list[Launch]:
    """2:4 sparse weights on sparse matrix units: half the weights and two bits each of them."""
    shape = Product(m=m, n=n, k=k, weight_bytes=1.0 + 0.125, kept=0.5)
    return best("sparse24_gemm", shape, device)


def triton_gemm(m: int, n: int, k: int, device: Device) -> list[Launch]:
    """Triton's tutorial 03: 128 x 256 tiles in steps of 64, three stages, eight warps."""
    shape = Product(m=m, n=n, k=k)
    return tiled("triton_gemm", shape, (128, 256), k_step=64, stages=3, warps=8, registers=255)
