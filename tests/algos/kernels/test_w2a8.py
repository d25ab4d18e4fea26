"""Storage, exact sums, limits and counts of the W2A8 products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algos.kernels import make_kernel
from algos.kernels.emulate import emulate
from algos.kernels.launch import run
from algos.kernels.w2a8_gemm.kernel import Tile, W2a8, W2a8Few, W2a8Gemm, W2a8Gemv, few_tile, tile
from algos.kernels.w2a8_gemm.naive import dense, group_sums, product
from algos.kernels.w2a8_gemm.pack import pack, pack_matrix, unpack
from workloads.errors import InputError
from workloads.packed import PackedMatrix, WeightFormat

GEMM, GEMV = W2a8Gemm(), W2a8Gemv()


def matrix(rows: int, columns: int, seed: int = 0) -> PackedMatrix:
    draw = np.random.default_rng(seed)
    order = draw.random((rows, columns // 4, 4)).argsort(-1)
    return PackedMatrix(
        format=WeightFormat(),
        columns=columns,
        codes=draw.integers(0, 4, (rows, columns // 2), dtype=np.uint8),
        positions=np.sort(order[..., :2], -1).reshape(rows, -1).astype(np.uint8),
        scales=draw.random((rows, columns // 64)).astype(np.float16),
        zeros=draw.integers(0, 4, (rows, columns // 64), dtype=np.uint8),
    )


def test_unpacking_gives_back_what_was_packed() -> None:
    given = matrix(48, 768)
    records = pack_matrix(given)
    assert records.shape == (3, 3, 292)
    assert records.dtype == torch.int32
    for found, wanted in zip(
        unpack(records), (given.codes, given.positions, given.scales, given.zeros), strict=True
    ):
        assert np.array_equal(found.numpy(), wanted)


def test_two_numbers_of_a_record_by_hand() -> None:
    codes = torch.zeros(16, 128, dtype=torch.uint8)
    positions = torch.tensor([0, 1], dtype=torch.uint8).repeat(16, 64)
    scales, zeros = torch.zeros(16, 4).half(), torch.full((16, 4), 3, dtype=torch.uint8)
    empty = pack(codes, positions, scales, zeros)
    # row 10 = g 2 + 8: a[1] or a[3]. Group 3: step 1, its second group. Quad 6 of the weights is
    # 4 t + j with t 1, j 2: quad 4 j + t = 9 of the instruction, so of the upper 8, that is a[3];
    # quads 8 + 2 t and the next are with lane t 0, of which 9 is the second: codes 2 and 3.
    codes[10, 3 * 32 + 6 * 2 + 1] = 2
    changed = (pack(codes, positions, scales, zeros) ^ empty)[0, 0]
    lane, i = 4 * 2 + 0, 3
    assert changed.nonzero().flatten().tolist() == [(32 * 1 + lane) * 4 + 2]
    assert int(changed.sum()) & 0xFFFFFFFF == 2 << (16 + 2 + 4 * i)
    zeros[10, 3] = 1  # 3 - zero is 2, in bits 2 x (2 x group + half) of the half word of g
    changed = (pack(codes, positions, scales, zeros) ^ empty)[0, 0, 288:]
    assert changed.view(torch.uint8).nonzero().flatten().tolist() == [2 * 2 + 1]
    assert int(changed.view(torch.int16)[2]) & 0xFFFF == 2 << (2 * (2 * 3 + 1))


def test_naive_is_the_product_of_the_stored_weights() -> None:
    given = matrix(32, 512)
    inputs = torch.randint(-127, 128, (3, 512), dtype=torch.int8)
    scale = torch.rand(3)
    found = product(pack_matrix(given), inputs, scale)
    wanted = inputs.double() @ torch.from_numpy(given.weights()).double().T
    assert torch.allclose(found, wanted * scale.double()[:, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        (GEMM, W2a8(tokens=11, rows=32, inputs=512)),
        (GEMM, W2a8(tokens=40, rows=32, inputs=512)),
        (GEMM, W2a8(tokens=9, rows=8_224, inputs=256)),
        (GEMV, W2a8Few(tokens=2, rows=32, inputs=512)),
        (GEMV, W2a8Few(tokens=8, rows=4_128, inputs=256)),
    ],
)
def test_sums_of_groups_are_exact_integers(kernel: W2a8Gemm, shape: W2a8) -> None:
    # one group has scale 1, and sums are small enough for fp16 to hold them
    given = matrix(shape.rows, shape.inputs, seed=2)
    draw = torch.Generator().manual_seed(5)
    inputs = torch.randint(-21, 22, (shape.tokens, shape.inputs), generator=draw, dtype=torch.int8)
    codes, positions, scales, zeros = unpack(pack_matrix(given))
    kept = codes.double() - zeros.double().repeat_interleave(32, 1)
    wanted = group_sums(dense(kept, positions), inputs.double())
    assert wanted.abs().max() <= 2_048
    for group in range(shape.inputs // 64):
        only = torch.zeros_like(scales)
        only[:, group] = 1.0
        operands = {
            "packed": pack(codes, positions, only, zeros),
            "activations": inputs,
            "activation_scale": torch.ones(shape.tokens),
        }
        assert torch.equal(run(kernel, shape, operands)["output"].double(), wanted[group])


def test_largest_numbers_of_a_group() -> None:
    shape = W2a8Few(tokens=1, rows=32, inputs=256)
    codes = torch.zeros(32, 128, dtype=torch.uint8)
    positions = torch.tensor([2, 3], dtype=torch.uint8).repeat(32, 64)
    zeros = torch.full((32, 4), 3, dtype=torch.uint8)  # all weights are -3
    packed = pack(codes, positions, torch.full((32, 4), 1 / 64).half(), zeros)
    inputs = torch.full((1, 256), -128, dtype=torch.int8)
    operands = {"packed": packed, "activations": inputs, "activation_scale": torch.ones(1)}
    found = run(GEMV, shape, operands)["output"]
    assert torch.equal(found, torch.full((1, 32), 4 * 32 * 3 * 128 / 64).half())


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "case"), [(GEMM, "16-tokens"), (GEMM, "64-tokens"), (GEMV, "eight")]
)
def test_the_order_of_threads_does_not_matter(kernel: W2a8Gemm, case: str, order: int) -> None:
    shape = kernel.tests[case]
    inputs = kernel.inputs(shape, seed=order)
    outputs = []
    for turn in (0, order):
        buffers = kernel.buffers(shape, inputs)
        known = {**inputs, **buffers, **kernel.scalars(shape)}
        (program,) = kernel.programs(shape, "sm_90")
        emulate(kernel, program, [known[name] for name in program.arguments], turn)
        outputs.append(buffers["output"])
    assert torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (W2a8, {"rows": 48}, "w2a8 rows must be a multiple of 32, not 48"),
        (W2a8, {"inputs": 4_000}, "w2a8 inputs must be a multiple of 256, not 4000"),
        (W2a8, {"tokens": 8_193}, "tokens must be less than or equal to 8192"),
        (W2a8Few, {"tokens": 9}, "tokens must be less than or equal to 8"),
        (W2a8, {"tokens": 0}, "tokens must be greater than or equal to 1"),
    ],
)
def test_limits_are_told(kind: type[W2a8], values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        kind(**values)


def test_matrices_of_another_format_are_refused() -> None:
    given = matrix(16, 256)
    other = PackedMatrix(**{**vars(given), "format": WeightFormat(index="pattern")})
    with pytest.raises(InputError, match="weights must be of 2 bits, 2:4 sparse by positions"):
        pack_matrix(other)
    with pytest.raises(InputError, match="multiples of 16 rows and 256 inputs, not 16 and 128"):
        pack_matrix(matrix(16, 128))
    codes, positions, scales, zeros = unpack(pack_matrix(given))
    with pytest.raises(InputError, match="positions must ascend in each quad"):
        pack(codes, positions.flip(1), scales, zeros)


def test_operands_of_another_shape_are_refused() -> None:
    shape = GEMM.tests["32-tokens"]
    inputs = GEMM.inputs(shape, 0)
    with pytest.raises(InputError, match=r"operand activations must be \(20, 512\) of torch.int8"):
        run(GEMM, shape, {**inputs, "activations": inputs["activations"].int()})


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 8_192])
@pytest.mark.parametrize("rows", [32, 4_096, 8_192, 8_224, 11_008, 32_000])
def test_tiles_hold_rows_and_tokens_and_fit(tokens: int, rows: int) -> None:
    shape = W2a8(tokens=tokens, rows=rows, inputs=4_096)
    for found in [tile(shape)] + ([few_tile(shape)] if tokens <= 8 else []):
        assert rows % found.block_m == 0
        assert found.loaded >= min(tokens, found.block_n)
        assert found.shared_bytes <= 163 * 1_024  # of an A100
        assert 2 * found.records % found.warps_k == 0
        assert found.warps_m * found.warps_n * found.warps_k in (4, 8)


def test_counts_by_hand() -> None:
    shape = W2a8(tokens=128, rows=4_096, inputs=4_096)
    packed = 256 * 16 * 1_168
    assert shape.packed_bytes == packed
    assert packed * 8 / 4_096**2 == 2.28125  # bits a weight
    count = GEMM.count(shape)
    assert count.dram_bytes == packed + 128 * 4_096 + 128 * 4 + 128 * 4_096 * 2
    assert count.flops == 128 * 4_096 * 4_096
    (program,) = GEMM.programs(shape, "sm_90")
    assert tile(shape) == Tile(2, 8, 2, 1, 4, 2, 3, 64)
    assert program.grid == (64, 2, 1)
    assert program.warps == 8
    stage = 4 * 2 * 1_168 + 64 * 512
    assert program.shared_bytes == 3 * stage
    assert program.inflight_bytes == 2 * stage
    assert program.steps == 8
    instructions = 256 * 16 * 64
    assert program.operations["tensor_int8"] == instructions * 2 * 16 * 8 * 32
    assert program.operations["fp32"] == instructions * 16 * 8 * 3
    assert program.l2_bytes == 2 * packed + 64 * 128 * 4_096 + 64 * 128 * 4 + 128 * 4_096 * 2
    assert GEMM.dense_shape(shape).rows == 4_096
    assert make_kernel("dense-gemm").count(GEMM.dense_shape(shape)).dram_bytes == 2 * (
        4_096**2 + 2 * 128 * 4_096
    )


def test_dense_controls_have_no_programs() -> None:
    for name in ("dense-gemm", "dense-gemv"):
        kernel = make_kernel(name)
        assert all(not kernel.programs(shape, "sm_90") for shape in kernel.papers.values())
