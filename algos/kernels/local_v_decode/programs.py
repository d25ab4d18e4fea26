"""What local value pruning launches."""

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
from algos.kernels.local_v_decode.shape import SCORE_REPEAT, LocalV, mix_parts, score_parts

CHUNK = 4096
"""keys whose places are found in one scan"""
COUNTS = 18
"""of a selection among 32,768 scores without ties, on average"""


def score_program(shape: LocalV, target: str) -> Program:
    """Return the program that scores all keys."""
    parts, length = score_parts(shape, target)
    rows = lines(2 * shape.dim)
    of_key, seen = 2 * shape.dim, shape.kv_rows * parts * length
    return Program(
        function="score_keys",
        arguments={
            "query": "*fp16",
            "key": "*fp16",
            "scores": "*fp32",
            "scale_log2": "fp32",
            "keys": "i32",
            "length": "i32",
        },
        constants={
            "GROUP": shape.group,
            "DIM": shape.dim,
            "REPEAT": SCORE_REPEAT,
            "ROWS": rows,
            "STAGES": STAGES,
        },
        grid=(parts, shape.kv_rows, 1),
        warps=WARPS,
        stages=STAGES,
        divisible=divisible(keys=shape.keys, length=length),
        dram_bytes=shape.kv_rows * shape.keys * of_key + 2 * shape.rows * shape.dim,
        l2_bytes=shape.kv_rows * shape.keys * of_key
        + 2 * shape.rows * shape.dim * parts
        + 4 * shape.rows * shape.keys,
        # of an element: to float32, a multiply-add a head, the sum of 8 among threads
        operations={"fp32": seen * (1.0 + 2.5 * shape.group) * shape.dim},
        steps=length // (SCORE_REPEAT * rows),
        inflight_bytes=(STAGES - 1) * SCORE_REPEAT * rows * of_key,
        longest=length * parts / shape.keys,
    )


def select_program(shape: LocalV) -> Program:
    """Return the program that selects the rows of V, a block a query head."""
    keys = power(shape.keys)
    return Program(
        function="select_values",
        arguments={
            "scores": "*fp32",
            "ids": "*i32",
            "weights": "*fp32",
            "keys": "i32",
            "kept": "i32",
        },
        constants={"KEYS": keys, "CHUNK": min(keys, CHUNK)},
        grid=(shape.rows, 1, 1),
        warps=min(max(keys // 256, 1), 32),
        stages=1,
        divisible=divisible(keys=shape.keys),
        l2_bytes=shape.rows * (2 * 4 * shape.keys + 8 * shape.kept),
        operations={
            # a count compares, chooses, adds; then order and place of a key
            "int32": shape.rows * keys * (3.5 * COUNTS + 25.0),
            "special": 2.0 * shape.rows * keys,
            "fp32": 3.0 * shape.rows * keys,
        },
        steps=COUNTS,
        inflight_bytes=4 * keys,
    )


def mix_program(shape: LocalV, target: str) -> Program:
    """Return the program that gathers and mixes the kept rows of V."""
    parts, length = mix_parts(shape, target)
    rows = lines(2 * shape.dim)
    fetched = 2 * shape.rows * shape.kept * shape.dim
    return Program(
        function="mix_kept",
        arguments={
            "value": "*fp16",
            "ids": "*i32",
            "weights": "*fp32",
            "partial": partial_kind(parts),
            "keys": "i32",
            "kept": "i32",
            "kept_length": "i32",
        },
        constants={
            "GROUP": shape.group,
            "DIM": shape.dim,
            "REPEAT": REPEAT,
            "ROWS": rows,
            "STAGES": STAGES,
        },
        grid=(parts, shape.rows, 1),
        warps=WARPS,
        stages=STAGES,
        divisible=divisible(kept_length=length),
        dram_bytes=value_bytes(shape) + (2 * shape.rows * shape.dim if parts == 1 else 0),
        l2_bytes=fetched
        + 8 * shape.rows * shape.kept
        + partial_bytes(shape, parts)
        - 4 * shape.rows * parts,  # no sums
        operations={"fp32": 3.0 * shape.rows * parts * length * shape.dim},
        steps=length // (REPEAT * rows),
        inflight_bytes=(STAGES - 1) * REPEAT * rows * 2 * shape.dim,
        longest=length * parts / shape.kept,
    )


def value_bytes(shape: LocalV) -> int:
    """Return the bytes of V that a group fetches at most."""
    rows = min(shape.keys, shape.group * shape.kept)
    return 2 * shape.kv_rows * rows * shape.dim
