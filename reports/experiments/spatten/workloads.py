"""The workloads of SpAtten's evaluation, as far as they are known.

The authors released files for GPT-2; their ratios per layer, read from those files, are below, so
that equal counts can be made without them. For BERT no file was released, and the paper gives no
length or ratio per task: what is assumed is stated at each trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from workloads.shapes import SHAPES, ModelShape
from workloads.spatten_csv import SpattenCsv, read_csv
from workloads.spatten_trace import to_trace
from workloads.synthetic import shape_trace
from workloads.trace import Trace

PROMPT_TOKENS, GENERATED_TOKENS, CONTEXT_TOKENS = 992, 32, 1024
UNQUANTISED = -1
FLOAT_BITS = 32
"""Width of unquantised K and V in DRAM in the breakdown: the released test bench's setting for no
quantisation is 32 bit, and its RTL had a 32-bit profile once."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Ratios of a GPT-2 workload; kept tokens are shares of the whole context, as released."""

    shape: str
    token_shares: tuple[float, ...]  # (layers,) 1: every token so far
    heads: tuple[int, ...]  # (layers,)
    value_share: float = 1.0  # of the keys
    key_bits: int = UNQUANTISED
    value_bits: int = UNQUANTISED
    lsb_share: float = 0.0  # rows that need their LSBs
    stored_bits: int = 0  # of every operand in DRAM; 0: as quantised
    iterations: tuple[int, ...] = tuple(range(GENERATED_TOKENS))  # generated tokens to hold
    note: str = ""


SMALL = Generation(
    shape="gpt2-small",
    token_shares=(0.9, 0.7, *[0.2] * 4, *[0.1] * 6),
    heads=(12,) * 12,
    value_share=0.2,
    key_bits=6,
    value_bits=6,
    lsb_share=323 / 4608,
    note="ratios of the authors' GPT-2 Small file (per8)",
)
MEDIUM = Generation(
    shape="gpt2-medium",
    token_shares=(1.0, 1.0, 0.9, 0.8, 0.8, *[0.6] * 6, *[0.3] * 13),
    heads=(*[16] * 16, *[13] * 6, *[10] * 2),
    value_share=0.3,
    key_bits=12,
    value_bits=8,
    note="ratios of the authors' GPT-2 Medium file (step5)",
)


def unpruned(generation: Generation) -> Generation:
    """Return the same model with nothing pruned, in full precision."""
    shape = SHAPES[generation.shape]
    return Generation(
        shape=generation.shape,
        token_shares=(1.0,) * shape.layers,
        heads=(shape.heads,) * shape.layers,
        stored_bits=FLOAT_BITS,
        note="nothing pruned",
    )


def _partly(generation: Generation, heads: bool) -> Generation:
    """Return the same pruning in full precision, with or without head pruning."""
    shape = SHAPES[generation.shape]
    return replace(
        generation,
        heads=generation.heads if heads else (shape.heads,) * shape.layers,
        key_bits=UNQUANTISED,
        value_bits=UNQUANTISED,
        lsb_share=0.0,
        stored_bits=FLOAT_BITS,
    )


LATER_TOKENS = (10, 20, 31)
"""Of the 31 tokens after the first, those that stand for all in the breakdown."""


def steps(generation: Generation) -> dict[str, Generation]:
    """Return the steps of the paper's speed-up breakdown, each with what came before it."""
    return {
        "nothing pruned": unpruned(generation),
        "tokens and values": _partly(generation, heads=False),
        "and heads": _partly(generation, heads=True),
        "and quantised": generation,
    }


def generation_rows(generation: Generation, seed: int = 0) -> SpattenCsv:
    """Return a workload of the authors' form with the given ratios.

    As in their files nothing is pruned in iteration 0, and V is a share of the whole context where
    K is not pruned. Which rows need their LSBs is seeded random.
    """
    shape = SHAPES[generation.shape]
    random = np.random.default_rng(seed)
    rows = []
    for iteration in generation.iterations:
        length = PROMPT_TOKENS + 1 + iteration
        for layer in range(shape.layers):
            share = generation.token_shares[layer] if iteration else 1.0
            keys = length if share == 1.0 else int(share * CONTEXT_TOKENS)
            context = CONTEXT_TOKENS if share == 1.0 else keys
            values = keys if generation.value_share == 1 else int(generation.value_share * context)
            rows += [
                (iteration, layer, head, length, min(keys, length), min(values, keys, length))
                for head in range(generation.heads[layer])
            ]
    names = ["iteration_id", "layer_id", "head_id", "sentence_length_L", "key_fetch_num",
             "value_fetch_num"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=names)
    quantised = generation.key_bits != UNQUANTISED
    frame = frame.assign(
        embedding_length_D=float(shape.head_dim),
        quant_key_bit=generation.key_bits,
        quant_query_bit=UNQUANTISED,
        quant_value_bit=generation.value_bits,
        auto_requant_thres=0.05 if quantised else -1.0,
        auto_requant_incre=4 if generation.lsb_share else -1,
        if_requant=random.random(len(frame)) < generation.lsb_share,
        if_accumulate_importance=False,
        if_rescale_previous_importance=False,
        if_topk=False,
        topk=-1,
    )
    return _with_selections(SpattenCsv(frame), generation)


def _with_selections(workload: SpattenCsv, generation: Generation) -> SpattenCsv:
    """Mark the last row of each layer that hands on fewer tokens, as the authors' files do.

    The last layer selects for the first one of the next token.
    """
    rows = workload.rows
    shares = generation.token_shares
    last = ~rows.duplicated(["iteration_id", "layer_id"], keep="last")
    for layer, share in enumerate(shares):
        after = shares[(layer + 1) % len(shares)]
        final = layer == len(shares) - 1
        if after < (1.0 if final else share):
            iterations = (
                rows["iteration_id"] < GENERATED_TOKENS - 1 if final else (rows["iteration_id"] > 0)
            )
            here = last & (rows["layer_id"] == layer) & iterations
            rows.loc[here, "if_topk"] = True
            rows.loc[here, "topk"] = int(after * CONTEXT_TOKENS)
    return workload


def generation_trace(generation: Generation) -> Trace:
    """Return a synthetic trace of the 32 generated tokens, without the prompt's prefill."""
    trace = to_trace(generation_rows(generation), generation.shape)
    header = replace(
        trace.header,
        workload=f"{generation.shape}-generation",
        model=replace(SHAPES[generation.shape], source=trace.header.model.source),
        method="published ratios",
        synthetic=True,
        notes=generation.note,
    )
    return replace(trace, header=header, tables=_stored(trace, generation.stored_bits))


def _stored(trace: Trace, bits: int) -> dict[str, pa.Table]:
    """Return a trace's tables with every operand of attention in so many bits; 0: as they are."""
    if not bits:
        return trace.tables
    table = trace.tables["attention"]
    for name in ("q_bits", "k_bits", "v_bits"):
        at = table.schema.get_field_index(name)
        column = pa.array(np.full(table.num_rows, bits, np.int32))
        table = table.set_column(at, table.schema.field(at), column)
    return trace.tables | {"attention": table}


BERT_TOKENS = (16, 24, 32, 48)
BERT_NOTE = (
    "BERT: lengths assumed (16, 24, 32 and 48 tokens; the paper says fewer than 100), tokens kept "
    "fall linearly to 60 % and heads to 80 % (assumed), static 8-bit K and V (assumed)"
)


def bert_trace(model: str, tokens: int) -> Trace:
    """Return a synthetic trace of one sentence on BERT, pruned on the paper's schedule."""
    shape = SHAPES[model]
    return shape_trace(
        shape,
        tokens,
        token_keep=falling_shares(shape, 0.15, 0.6),
        head_keep=falling_shares(shape, 0.30, 0.8),
        k_bits=8,
        v_bits=8,
    )


def falling_shares(shape: ModelShape, unpruned_share: float, end: float) -> list[float]:
    """Keep everything in the first layers, then fall linearly (SpAtten, section V)."""
    whole = max(1, round(unpruned_share * shape.layers))
    falling = np.linspace(1.0, end, shape.layers - whole + 1)[1:]
    return [1.0] * whole + [float(share) for share in falling]


def traces(files: Path | None) -> dict[str, Callable[[], Trace]]:
    """Return the traces of all experiments by name.

    Args:
        files: folder with the files that the authors released; None: they are left out.
    """
    found: dict[str, Callable[[], Trace]] = {"one head of 128 keys": _one_head}
    for given in (SMALL, MEDIUM):
        found[given.shape] = partial(generation_trace, given)
        for step, made in steps(given).items():
            first = replace(made, iterations=(0,))
            found[f"{given.shape}, {step}, first token"] = partial(generation_trace, first)
            later = replace(made, iterations=LATER_TOKENS)
            found[f"{given.shape}, {step}, later tokens"] = partial(generation_trace, later)
    found["gpt2-medium with FC"] = partial(
        shape_trace, SHAPES["gpt2-medium"], PROMPT_TOKENS, generate=2, prefill=False
    )
    for tokens in (128, 384):
        found[f"bert-base {tokens} dense"] = partial(
            shape_trace, SHAPES["bert-base"], tokens, k_bits=8, v_bits=8
        )
    for model in ("bert-base", "bert-large"):
        for tokens in BERT_TOKENS:
            found[f"{model} {tokens}"] = partial(bert_trace, model, tokens)
            found[f"{model} {tokens} unpruned"] = partial(shape_trace, SHAPES[model], tokens)
    for path in sorted(files.glob("*.csv")) if files is not None else []:
        found[path.stem] = partial(_released, path)
    return found


def _one_head() -> Trace:
    """Return one query of one head on 128 keys and values of 8 bit."""
    row = generation_rows(unpruned(SMALL)).rows.iloc[:1].reset_index(drop=True)
    counts = ["sentence_length_L", "key_fetch_num", "value_fetch_num"]
    row[counts] = 128
    row[["quant_key_bit", "quant_value_bit"]] = 8
    return to_trace(SpattenCsv(row), "one-head-128")


def _released(path: Path) -> Trace:
    return to_trace(read_csv(path), path.stem)


BERT = [f"{model} {tokens}" for model in ("bert-base", "bert-large") for tokens in BERT_TOKENS]
"""Names of the BERT traces."""
