"""What is launched for an attention among kept tokens and heads."""

from __future__ import annotations

from algos.kernels.base import Program, divisible
from algos.kernels.cascade_prefill.shape import Cascade, is_short
from algos.kernels.dense_prefill.tiles import Tiles, attention_operations, key_tiles

SUM_COLUMNS, SUM_ROWS = 32, 64
"""tile of the parts that are added up: rows of 128 bytes"""


def padded(kept: int) -> int:
    """Return the length of a row of parts: whole tiles of sums, so that loads are aligned."""
    return -(-kept // SUM_COLUMNS) * SUM_COLUMNS


def attention_program(shape: Cascade, cut: Tiles) -> Program:
    """Return the program that computes results and parts of the sums."""
    short = is_short(shape)
    columns = key_tiles(shape.kept, shape.kept, shape.causal and not short, cut)
    heads = shape.batch * shape.kept_heads
    steps = heads * sum(columns)
    scores = steps * cut.queries * cut.keys
    visits = 2 if short else 3  # of K and V, and of K again
    rows = heads * len(columns) * cut.queries + visits * steps * cut.keys  # repeated ones too
    row_bytes = 2 * shape.dim
    parts = heads * (len(columns) + sum(min(shape.kept, tile * cut.keys) for tile in columns))
    operations = attention_operations(scores, 0 if short else steps, cut.queries, shape.dim)
    if short:
        operations["fp32"] += 2.0 * scores  # probability x share, sum
    else:
        operations["tensor_fp16"] += 2.0 * scores * shape.dim
        operations["special"] += scores
        operations["fp32"] += 3.0 * scores  # scale and difference, sum
    constants = {
        "HEADS": shape.heads,
        "KV_HEADS": shape.kv_heads,
        "KEPT_HEADS": shape.kept_heads,
        "DIM": shape.dim,
        "CAUSAL": shape.causal,
        "BLOCK_M": cut.queries,
        "BLOCK_N": cut.keys,
    }
    if not short:
        constants["RAGGED"] = shape.kept % cut.keys > 0
    ahead = cut.queries + 2 * cut.keys if short else (cut.stages - 1) // 2 * 2 * cut.keys
    return Program(
        function="cascade_short" if short else "cascade_prefill",
        arguments={
            "query": "*fp16",
            "key": "*fp16",
            "value": "*fp16",
            "token_ids": "*i32",
            "head_ids": "*i32",
            "output": "*fp16",
            "token_parts": "*fp32",
            "head_parts": "*fp32",
            "scale_log2": "fp32",
            "tokens": "i32",
            "kept": "i32",
            "stride": "i32",
        },
        constants=constants,
        grid=(len(columns), heads, 1),
        warps=cut.warps,
        stages=cut.stages,
        divisible=divisible(tokens=shape.tokens, kept=shape.kept, stride=padded(shape.kept)),
        dram_bytes=shape.count.dram_bytes - 4 * shape.batch * (shape.kept + shape.kept_heads),
        l2_bytes=rows * (row_bytes + 4) + heads * shape.kept * row_bytes + 4 * parts,
        operations=operations,
        steps=1 if short else 2 * max(columns),
        inflight_bytes=ahead * row_bytes,
        longest=max(columns) * len(columns) / sum(columns),
    )


def sums_program(shape: Cascade, cut: Tiles) -> Program:
    """Return the program that adds up the parts, which are in L2 still."""
    tiles = -(-shape.kept // cut.queries)
    rows = shape.kept_heads * tiles
    blocks = padded(shape.kept) // SUM_COLUMNS
    causal = shape.causal and not is_short(shape)
    columns = [min(shape.kept, (tile + 1) * cut.queries) for tile in range(tiles)]
    parts = shape.kept_heads * (sum(columns) if causal else tiles * shape.kept)
    results = shape.batch * (shape.kept + shape.kept_heads)
    return Program(
        function="importance_sums",
        arguments={
            "token_parts": "*fp32",
            "head_parts": "*fp32",
            "token_importance": "*fp32",
            "head_importance": "*fp32",
            "kept": "i32",
            "stride": "i32",
        },
        constants={
            "KEPT_HEADS": shape.kept_heads,
            "CAUSAL": causal,
            "BLOCK_M": cut.queries,
            "ROWS": SUM_ROWS,
            "COLUMNS": SUM_COLUMNS,
        },
        grid=(blocks + shape.kept_heads, shape.batch, 1),
        warps=4,
        stages=3,
        divisible=divisible(kept=shape.kept, stride=padded(shape.kept)),
        dram_bytes=4 * results,
        l2_bytes=4 * (shape.batch * (parts + rows) + results),
        operations={
            "fp32": float(shape.batch * blocks * -(-rows // SUM_ROWS) * SUM_ROWS * SUM_COLUMNS)
        },
        steps=-(-rows // SUM_ROWS),
        inflight_bytes=4 * SUM_ROWS * SUM_COLUMNS,
    )
