"""How 2:4 sparse 2-bit weights lie in a GPU's memory: as the tensor cores want them.

The stored numbers are those of `workloads.packed.WeightFormat()`: 2-bit codes and 2-bit positions
of the kept weights, an FP16 scale and a 2-bit zero point for 64 inputs of a row, together 2.28 bits
a weight. Their order is another. A *record* holds 16 rows x 256 inputs (4 groups) in 1,168 bytes,
which the lanes 4 g + t of a warp read as vectors:

- 2 steps of 32 lanes x 16 bytes: codes of a group, its metadata, codes and metadata of the next;
- 8 g x 8 halves: scales of the rows g and g + 8 in the 4 groups;
- 8 g x 2 bytes: of the same 2 bits each, 3 minus the zero point.

Metadata are the operand `e` of `mma.sp`, as `device.cuh` says. A lane's 16 codes are those of its
operands a[0] to a[3]: code i of a[r] is at bit 16 (r // 2) + 2 (r % 2) + 4 i, so that one masked
shift makes them the selector of a byte permutation, which looks up code - zero.

The instruction sums over inputs in any order if both operands agree. So quad 4 j + t of the
instruction is quad 4 t + j of the weights: a lane's activations are 16 neighbouring bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.packed import WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.packed import PackedMatrix

ROWS, INPUTS, GROUPS = 16, 256, 4
"""of a record"""
RECORD_WORDS = 292
"""32-bit words of a record: 256 of codes and metadata, 32 of scales, 4 of zero points"""


def pack(codes: Tensor, positions: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Return (rows / 16, inputs / 256, 292) int32 records.

    Args:
        codes, positions: (rows, inputs / 2) uint8 0..3; two of each quad, positions ascending.
        scales: (rows, inputs / 64) float16.
        zeros: (rows, inputs / 64) uint8 0..3.

    Raises:
        InputError: positions that do not ascend in a quad: the instruction demands it.
    """
    import torch

    rows, kept = codes.shape
    if not codes.is_meta and not bool((positions[:, ::2] < positions[:, 1::2]).all()):
        raise InputError("packed positions must ascend in each quad, some do not")
    size = (rows // ROWS, ROWS, 2 * kept // INPUTS, INPUTS // 2)
    numbers = torch.cat([part.reshape(size).transpose(1, 2) for part in (codes, positions)], 2)
    order = torch.tensor(_order(), device=codes.device)
    fields = numbers.flatten(2)[..., order].reshape(*numbers.shape[:2], -1, 16)
    of_groups = (rows // ROWS, 2, 8, -1, GROUPS)
    scale = scales.reshape(of_groups).permute(0, 3, 2, 4, 1)  # .., g, group, half
    zero = 3 - zeros.reshape(of_groups).permute(0, 3, 2, 4, 1)
    parts = [
        _words(fields),
        scale.contiguous().view(torch.int32).flatten(2),
        _words(zero.reshape(*zero.shape[:2], 4, 16)),
    ]
    return torch.cat(parts, 2)


def unpack(records: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return codes, positions, scales and zeros: the inverse of `pack`."""
    import torch

    tiles, steps, _ = records.shape
    order = torch.tensor(_order(), device=records.device)
    fields = _fields(records[..., :256]).flatten(2)
    numbers = torch.empty_like(fields)
    numbers[..., order] = fields
    both = numbers.reshape(tiles, steps, 2, ROWS, -1).permute(2, 0, 3, 1, 4)
    codes, positions = both.reshape(2, tiles * ROWS, -1)
    of_groups = (tiles, steps, 8, GROUPS, 2)
    scale = records[..., 256:288].contiguous().view(torch.float16).reshape(of_groups)
    zero = 3 - _fields(records[..., 288:]).reshape(of_groups)
    scales, zeros = (
        part.permute(0, 4, 2, 1, 3).reshape(tiles * ROWS, -1) for part in (scale, zero)
    )
    return codes, positions, scales, zeros


def pack_matrix(matrix: PackedMatrix) -> Tensor:
    """Return the records of a matrix as algorithms quantise it.

    Raises:
        InputError: another format, or sizes that are no whole records.
    """
    import torch

    if matrix.format != WeightFormat():
        raise InputError(
            f"weights must be of 2 bits, 2:4 sparse by positions, in groups of 64 with 2-bit zero "
            f"points, not {matrix.format}"
        )
    if matrix.rows % ROWS or matrix.columns % INPUTS or matrix.positions is None:
        raise InputError(
            f"weights must have multiples of {ROWS} rows and {INPUTS} inputs, not {matrix.rows} "
            f"and {matrix.columns}"
        )
    arrays = (matrix.codes, matrix.positions, matrix.scales, matrix.zeros)
    return pack(*(torch.from_numpy(array) for array in arrays))


def _order() -> list[int]:
    """Return which number of a record, (code or position, row, kept), is each 2-bit field."""
    found = []
    for step in range(2):
        for lane in range(32):
            g, t = divmod(lane, 4)
            for group in (2 * step, 2 * step + 1):
                for field in range(16):  # code i of a[half + 2 * upper]
                    upper, i, half = field // 8, field % 8 // 2, field % 2
                    found.append(_number(0, g + 8 * half, group, 8 * upper + 2 * t + i // 2, i % 2))
                for field in range(16):
                    quad = 8 * (t // 2) + field // 2
                    found.append(_number(1, g + 8 * (t % 2), group, quad, field % 2))
    return found


def _number(kind: int, row: int, group: int, quad: int, which: int) -> int:
    quad = 4 * (quad % 4) + quad // 4  # of the weights
    return (kind * ROWS + row) * (INPUTS // 2) + 32 * group + 2 * quad + which


def _words(fields: Tensor) -> Tensor:
    """Return (..., n) int32 of (..., n, 16) numbers of 2 bits, the lowest first."""
    import torch

    words = torch.zeros(fields.shape[:-1], dtype=torch.int64, device=fields.device)
    for place in range(16):
        words |= fields[..., place].long() << (2 * place)
    return torch.where(words < 1 << 31, words, words - (1 << 32)).int()


def _fields(words: Tensor) -> Tensor:
    """Return (..., n, 16) uint8: the inverse of `_words`."""
    import torch

    shifts = torch.arange(0, 32, 2, device=words.device)
    return (words[..., None] >> shifts & 3).to(torch.uint8)
