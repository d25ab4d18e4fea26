"""What progressive quantisation launches."""

from __future__ import annotations

from algos.kernels.base import Program, divisible
from algos.kernels.decode.shape import (
    REPEAT,
    STAGES,
    WARPS,
    lines,
    partial_bytes,
    partial_kind,
    power,
)
from algos.kernels.progressive_decode.shape import (
    VALUE_REPEAT,
    VALUE_STAGES,
    Progressive,
    score_parts,
    value_parts,
)


def score_program(shape: Progressive, target: str) -> Program:
    """Return the program that scores all keys from the MSB plane."""
    parts, length = score_parts(shape, target)
    rows, nibbles = lines(shape.key_bytes), shape.msb_bits == 4
    plane = shape.kv_rows * shape.keys * shape.key_bytes
    elements = float(shape.kv_rows * parts * length * shape.dim)
    across = shape.key_bytes // 16  # threads a row
    exponentials = 1 + 1 / REPEAT
    return Program(
        function="msb_scores",
        arguments={
            "query": "*fp16",
            "msb": "*i32" if nibbles else "*i8",
            "key_scale": "*fp32",
            "scores": "*fp32",
            "tops": "*fp32",
            "sums": "*fp32",
            "scale_log2": "fp32",
            "keys": "i32",
            "length": "i32",
        },
        constants={
            "GROUP": shape.group,
            "DIM": shape.dim,
            "NIBBLES": nibbles,
            "REPEAT": REPEAT,
            "ROWS": rows,
            "STAGES": STAGES,
        },
        grid=(parts, shape.kv_rows, 1),
        warps=WARPS,
        stages=STAGES,
        divisible=divisible(keys=shape.keys, length=length),
        dram_bytes=plane + 2 * shape.rows * shape.dim + 4 * shape.kv_rows,
        l2_bytes=plane
        + shape.rows * (2 * shape.dim * parts + 4 * shape.keys + 8 * parts)
        + 4 * shape.kv_rows * parts,
        operations={
            "fp32": elements * 2 * shape.group,
            "int32": elements * 2,  # a shift and a mask, or a byte and its conversion
            "special": elements / shape.dim * shape.group * max(across, 1) * exponentials,
        },
        steps=length // (REPEAT * rows),
        inflight_bytes=(STAGES - 1) * REPEAT * rows * shape.key_bytes,
        longest=length * parts / shape.keys,
    )


def fetch_program(shape: Progressive, target: str) -> Program:
    """Return the program that corrects scores where needed, and mixes V."""
    parts, length = value_parts(shape, target)
    score_count = score_parts(shape, target)[0]
    rows = lines(shape.dim)
    plane = shape.kv_rows * shape.keys * shape.dim
    elements = float(shape.kv_rows * parts * length * shape.dim)
    low = elements * shape.low_bytes / (plane / 2)
    across = max(shape.dim // 16, 1)
    return Program(
        function="fetch_values",
        arguments={
            "query": "*fp16",
            "lsb": "*i32",
            "value": "*i8",
            "key_scale": "*fp32",
            "value_scale": "*fp32",
            "scores": "*fp32",
            "tops": "*fp32",
            "sums": "*fp32",
            "recomputed": "*i32",
            "partial": partial_kind(parts),
            "lse": "*fp32",
            "scale_log2": "fp32",
            "threshold": "fp32",
            "keys": "i32",
            "score_parts": "i32",
            "value_length": "i32",
        },
        constants={
            "GROUP": shape.group,
            "DIM": shape.dim,
            "PARTS": power(score_count),
            "REPEAT": VALUE_REPEAT,
            "ROWS": rows,
            "STAGES": VALUE_STAGES,
        },
        grid=(parts, shape.kv_rows, 1),
        warps=WARPS,
        stages=VALUE_STAGES,
        divisible=divisible(keys=shape.keys, value_length=length),
        dram_bytes=plane
        + shape.low_bytes
        + 4 * shape.kv_rows
        + 4 * shape.rows
        + (2 * shape.rows * shape.dim if parts == 1 else 0),
        l2_bytes=plane
        + shape.low_bytes
        + shape.rows * (4 * shape.keys + 8 * score_count * parts + 4)
        + 8 * shape.kv_rows * parts
        + 2 * len(shape.unsure) * shape.dim * parts
        + partial_bytes(shape, parts),
        operations={
            "fp32": (elements * (2 + 1 / VALUE_REPEAT) + low * 2) * shape.group,
            "int32": elements * 2 + low * 2,
            "special": elements / shape.dim * shape.group * across * (1 + 1 / VALUE_REPEAT),
        },
        steps=length // (VALUE_REPEAT * rows),
        inflight_bytes=(VALUE_STAGES - 1) * VALUE_REPEAT * rows * shape.dim,
        longest=length * parts / shape.keys,
    )
