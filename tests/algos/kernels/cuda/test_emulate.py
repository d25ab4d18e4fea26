"""What the emulator computes and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from algos.kernels.base import Kernel, Program
from algos.kernels.emulate import emulate
from workloads.errors import InputError

Make = Callable[..., Program]
pytestmark = pytest.mark.usefixtures("needs_gxx")


def test_warp_instructions_move_what_they_say(probe: Kernel, program: Make) -> None:
    given = torch.randint(0, 2**31, (64,), dtype=torch.int32)
    output = torch.empty(64, 7, dtype=torch.int32)
    emulate(probe, program("probe_warp", "*i32 *i32", warps=2), [given, output])
    warps, lanes = given.view(2, 32), torch.arange(32)
    found = output.view(2, 32, 7)
    assert torch.equal(found[..., 0], warps.flip(1))
    assert torch.equal(found[..., 1], warps[:, torch.where(lanes < 3, lanes, lanes - 3)])
    assert torch.equal(found[..., 2], warps[:, torch.where(lanes > 28, lanes, lanes + 3)])
    assert torch.equal(found[..., 3], warps[:, lanes ^ 5])
    bits = ((warps.long() & 1) << lanes).sum(1, keepdim=True).to(torch.int32)
    assert torch.equal(found[..., 4], bits.expand(2, 32))
    sums = warps.sum(1, keepdim=True).to(torch.int32)
    assert torch.equal(found[..., 5], sums.expand(2, 32))
    low, high = given.view(torch.uint8).view(64, 4), given.roll(-1).view(torch.uint8).view(64, 4)
    mixed = torch.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)
    assert torch.equal(output[:, 6], mixed.contiguous().view(torch.int32).squeeze(1))


def test_halves_are_those_of_torch(probe: Kernel, program: Make) -> None:
    given = torch.arange(-32768, 32768, dtype=torch.int16).view(torch.float16)
    widened, back = torch.empty(65536), torch.empty(65536, dtype=torch.float16)
    halves = program("probe_half", "*fp16 *fp32 *fp16 i32", grid=(512, 1, 1), warps=4)
    emulate(probe, halves, [given, widened, back, 65536])
    real = ~given.isnan()
    assert torch.equal(widened[real], given.float()[real])
    assert torch.equal(back[real], (given.float() * 1.000213).to(torch.float16)[real])
    assert widened[~real].isnan().all()
    assert back[~real].isnan().all()


def fragments(values: Any, positions: Any, inputs: Any) -> tuple[Any, Any, Any]:
    """Return a, b and e of 32 lanes, written from the PTX ISA, element by element.

    Args:
        values, positions: (16, 32) kept weights and their places 0..3 in their quads.
        inputs: (64, 8).
    """
    a, b = torch.zeros(32, 16, dtype=torch.int8), torch.zeros(32, 16, dtype=torch.int8)
    e = torch.zeros(32, dtype=torch.int64)
    for lane in range(32):
        group, of_group = lane >> 2, lane % 4
        for i in range(16):
            row = group if i < 4 or 8 <= i < 12 else group + 8
            first = of_group * 8 + (0 if i < 8 else 32)  # of 8 columns, 4 of which are kept
            a[lane, i] = values[row, first // 2 + i % 4]
            b[lane, i] = inputs[of_group * 4 + i % 4 + 16 * (i // 4), group]
        row, first = group + 8 * (lane % 2), 32 * (lane % 4 // 2)
        for place in range(16):
            e[lane] |= int(positions[row, first // 2 + place]) << (2 * place)
    e = torch.where(e >= 1 << 31, e - (1 << 32), e).to(torch.int32)
    return a.view(torch.int32).contiguous(), b.view(torch.int32).contiguous(), e


@pytest.mark.parametrize("seed", range(3))
def test_sparse_mma_is_a_sparse_product(probe: Kernel, program: Make, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randint(-128, 128, (16, 32), generator=draw)
    inputs = torch.randint(-128, 128, (64, 8), generator=draw)
    order = torch.rand(16, 16, 4, generator=draw).argsort(-1)
    positions = order[..., :2].sort(-1).values.reshape(16, 32)
    weights = torch.zeros(16, 64, dtype=torch.int64)
    weights.scatter_(1, torch.arange(32) // 2 * 4 + positions, values)
    a, b, e = fragments(values, positions, inputs)
    output = torch.empty(32, 4, dtype=torch.int32)
    emulate(probe, program("probe_mma", "*i32 *i32 *i32 *i32"), [a, b, e, output])
    wanted = weights @ inputs + 7
    for lane in range(32):
        for i in range(4):
            row, column = lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2
            assert output[lane, i] == wanted[row, column]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_copies_arrive_when_they_are_waited_for(probe: Kernel, program: Make, order: int) -> None:
    given = torch.arange(256, dtype=torch.int32)
    found = {}
    for wait, meet in ((1, 1), (0, 1), (1, 0)):
        output = torch.empty(256, dtype=torch.int32)
        copying = program(
            "probe_async",
            "*i32 *i32",
            constants={"WAIT": wait, "MEET": meet},
            warps=2,
            shared_bytes=1024,
        )
        emulate(probe, copying, [given, output], order)
        found[wait, meet] = output
    assert torch.equal(found[1, 1].view(64, 4), given.view(64, 4).flip(0))
    poison = torch.full((256,), 0xA5 - 256, dtype=torch.int8).view(torch.int32)
    assert torch.equal(found[0, 1], poison.expand(4, -1).reshape(-1))
    assert not torch.equal(found[1, 0], found[1, 1])  # a race is seen


def test_threads_that_wait_for_ever_are_told(probe: Kernel, program: Make) -> None:
    output = torch.empty(64, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="some wait for ever"):
        emulate(probe, program("probe_deadlock", "*i32", warps=2), [output])


def test_writing_behind_shared_memory_is_told(probe: Kernel, program: Make) -> None:
    output = torch.empty(32, dtype=torch.int32)
    emulate(probe, program("probe_behind", "*i32", shared_bytes=128), [output])
    with pytest.raises(RuntimeError, match="must stay in its dynamic shared memory"):
        emulate(probe, program("probe_behind", "*i32", shared_bytes=124), [output])


def test_copying_from_beside_the_tensors_is_told(probe: Kernel, program: Make) -> None:
    given, output = torch.zeros(128, dtype=torch.int32), torch.empty(128, dtype=torch.int32)
    constants = {"WAIT": 1, "MEET": 1}
    copying = program("probe_async", "*i32 *i32", constants=constants, shared_bytes=512)
    emulate(probe, copying, [given, output])
    with pytest.raises(RuntimeError, match="must read a tensor, it reads beside all of them"):
        emulate(probe, copying, [given[:124], output])


def test_scalars_and_ragged_ends(probe: Kernel, program: Make) -> None:
    given, output = torch.arange(50.0), torch.zeros(64)
    scaled = program(
        "probe_scaled", "*fp32 *fp32 fp32 i32", constants={"BIAS": 0.5}, grid=(2, 1, 1)
    )
    emulate(probe, scaled, [given, output, 2.0, 50])
    assert torch.equal(output[:50], given * 2 + 0.5)
    assert not output[50:].any()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([torch.zeros(4)], "must have 4 arguments, not 1"),
        ([torch.zeros(4).half(), torch.zeros(4), 1.0, 4], "x0 must be a tensor of float32, not fl"),
        ([3, torch.zeros(4), 1.0, 4], "x0 must be a tensor of float32, not int"),
        ([torch.zeros(4, 2)[:, 0], torch.zeros(4), 1.0, 4], "x0 must be contiguous"),
        ([torch.zeros(5)[1:], torch.zeros(4), 1.0, 4], "x0 must lie at a multiple of 16 bytes"),
        ([torch.zeros(4), torch.zeros(4), 1.0, 2**31], "x3 must be an integer of 32 bits"),
    ],
)
def test_arguments_are_checked(
    probe: Kernel, program: Make, values: list[Any], sentence: str
) -> None:
    scaled = program("probe_scaled", "*fp32 *fp32 fp32 i32", constants={"BIAS": 0.5})
    with pytest.raises(InputError, match=sentence):
        emulate(probe, scaled, values)
