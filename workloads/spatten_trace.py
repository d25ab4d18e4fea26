"""The SpAtten authors' workloads as traces, and traces as such workloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.spatten_csv import COLUMNS, SpattenCsv, check_rows
from workloads.trace import TABLES, Trace, TraceBuilder, TraceHeader

IntArray = np.ndarray[Any, np.dtype[np.int64]]

ON_CHIP_BITS = 12  # width of SpAtten's datapath: what an unquantised operand is carried as
RELEASED_LSB_BITS = 4  # of a row that needs LSBs in a file that does not say how many

_KEY = ["iteration_id", "layer_id", "head_id"]


def to_trace(workload: SpattenCsv, name: str) -> Trace:
    """Return the rows as a trace of one sequence.

    Iteration i, a generated token, is step i + 1; rows of one head in one iteration are queries.
    Heads that a layer of a step does not list are pruned heads. Bits: -1 becomes 12, the on-chip
    width, and no LSBs; wider queries (16 bits in the released files) are cut to 12 likewise. A row
    that needs LSBs in a file without an increment gets the 4 bits of the release, and none if its
    K is unquantised. `tokens` counts what a layer attends to. Neither scores nor identities are
    known.

    Raises:
        InputError: no rows, or rows of one head that differ in more than `if_requant`.
    """
    rows = workload.rows
    if rows.empty:
        raise InputError(f"{name} must hold at least 1 row, it holds 0")
    rows = rows.assign(iteration_id=rows["iteration_id"] + 1)
    heads = _group_heads(rows, name)
    layers = _group_layers(heads)
    builder = TraceBuilder()
    first, last = layers.iloc[0], layers.iloc[-1]
    prompt = max(1, first["tokens_dense"] - 1)
    builder.add(
        "sequences",
        1,
        sequence=0,
        tokens_dense=prompt,
        tokens=prompt,
        generated_tokens=last["step"] - first["step"] + 1,
    )
    _add_attention(builder, heads, layers)
    columns = ("step", "layer", "tokens_dense", "alive", "revived")
    builder.add("tokens", len(layers), sequence=0, **{c: layers[c].to_numpy() for c in columns})
    _add_selections(builder, rows, heads, layers)
    return builder.finish(_header(workload, heads, name))


def from_trace(trace: Trace, sequence: int | None = None) -> SpattenCsv:
    """Return one sequence of a trace as a workload file: one row for each query of a head.

    Iteration 0 is the trace's first step: the prefill, or the first generated token without one.

    The file holds less than the trace: full 12-bit operands without LSBs become -1; heads are
    renumbered among the alive ones; thresholds, scores, identities and weights are left out.

    Raises:
        InputError: several sequences and none chosen, no such sequence, or a number that the
            file cannot hold (named by row and column of the file).
    """
    present = trace.array("sequences", "sequence")
    if sequence is None and len(present) != 1:
        raise InputError(
            f"a SpAtten workload file holds 1 sequence, the trace holds {len(present)}: "
            "choose one with sequence"
        )
    if sequence is not None and sequence not in present:
        raise InputError(f"sequence must be one of the trace's {len(present)}, not {sequence}")
    chosen = int(present[0]) if sequence is None else sequence
    frame = _scalar_frame(trace, "attention", chosen)
    runs = frame[frame["alive"] & (frame["queries"] > 0)]
    rows = _query_rows(trace, runs)
    first_step = min(1, int(runs["step"].min())) if len(runs) else 0
    _mark_selections(rows, _scalar_frame(trace, "topk", chosen))
    rows["iteration_id"] -= first_step
    check_rows(rows, "workload file")
    return SpattenCsv(rows)


def _group_heads(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one row per (iteration, layer, head), sorted: counts of a head, and its queries."""
    ordered = rows.assign(row=np.arange(1, len(rows) + 1)).sort_values(_KEY, kind="stable")
    starts = ~ordered.duplicated(_KEY).to_numpy()
    group = np.cumsum(starts) - 1
    heads = ordered[starts].reset_index(drop=True)
    shared = [c for c in COLUMNS if not c.startswith("if_") and c not in (*_KEY, "topk")]
    for column in shared:
        found, expected = ordered[column].to_numpy(), heads[column].to_numpy()[group]
        if column == "embedding_length_D":
            expected = np.full(len(found), rows[column].iloc[0])
        if (found != expected).any():
            at = int(np.argmax(found != expected))
            whole = "file" if column == "embedding_length_D" else "head in its iteration"
            raise InputError(
                f"{name} row {ordered['row'].iloc[at]}: {column} must be {expected[at]:g} "
                f"as elsewhere in the {whole}, not {found[at]:g}"
            )
    needs = ordered["if_requant"].to_numpy()
    ordinals = np.arange(len(ordered)) - np.flatnonzero(starts)[group]
    quantised = heads["quant_key_bit"].to_numpy() != -1
    increment = heads["auto_requant_incre"].to_numpy()
    asked = np.bincount(group, needs) > 0
    lsb_bits = np.where(increment > 0, increment, np.where(asked, RELEASED_LSB_BITS, 0))
    heads["lsb_bits"] = np.where(quantised, lsb_bits, 0)
    heads["queries"] = np.bincount(group)
    heads["recomputed"] = np.where(heads["lsb_bits"] > 0, np.bincount(group, needs), 0).astype(int)
    heads["ordinals"] = pd.Series(
        np.split(ordinals[needs], np.cumsum(np.bincount(group, needs).astype(int))[:-1]),
        dtype=object,
    )
    return heads


def _group_layers(heads: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (iteration, layer): its first row of `heads`, and counts of tokens."""
    grouped = heads.groupby(["iteration_id", "layer_id"], sort=True)
    layers = grouped.agg(
        tokens_dense=("sentence_length_L", "max"), alive=("key_fetch_num", "max")
    ).reset_index()
    layers = layers.rename(columns={"iteration_id": "step", "layer_id": "layer"})
    layers["first"] = grouped["head_id"].size().cumsum().shift(fill_value=0).to_numpy()
    # What the deepest layer of the iteration before can have handed on, and the tokens since:
    # more keys than that were brought back (the release restarts each token from a wide set)
    steps = layers.groupby("step").last()
    left = (steps["alive"] - steps["tokens_dense"]).shift(fill_value=0)
    layers["handed_on"] = layers["tokens_dense"] + layers["step"].map(left)
    revived = (layers["alive"] - layers["handed_on"]).clip(lower=0)
    layers["revived"] = np.where(layers.duplicated("step"), 0, revived)
    return layers


def _add_attention(builder: TraceBuilder, heads: pd.DataFrame, layers: pd.DataFrame) -> None:
    width = int(heads["head_id"].max()) + 1
    layer_of = heads.groupby(["iteration_id", "layer_id"], sort=True).ngroup().to_numpy()
    cell = layer_of * width + heads["head_id"].to_numpy()
    cells = len(layers) * width
    alive = np.zeros(cells, np.bool_)
    alive[cell] = True
    source = np.repeat(layers["first"].to_numpy(), width)  # a pruned head looks like the first one
    source[cell] = np.arange(len(heads))
    row = {name: heads[name].to_numpy()[source] for name in heads}
    handed_on = np.repeat(layers["handed_on"].to_numpy(), width)
    revived = np.maximum(row["key_fetch_num"] - handed_on, 0) * alive
    recomputed = row["recomputed"] * alive
    ordinals = row["ordinals"]
    builder.add(
        "attention",
        cells,
        sequence=0,
        step=np.repeat(layers["step"].to_numpy(), width),
        layer=np.repeat(layers["layer"].to_numpy(), width),
        head=np.tile(np.arange(width), len(layers)),
        kv_head=np.tile(np.arange(width), len(layers)),
        alive=alive,
        queries_dense=row["queries"],
        queries=row["queries"] * alive,
        keys_dense=row["sentence_length_L"],
        keys=row["key_fetch_num"] * alive,
        values=row["value_fetch_num"] * alive,
        values_fetched=row["value_fetch_num"] * alive,
        head_dim=row["embedding_length_D"].astype(np.int64),
        q_bits=_carried_bits(row["quant_query_bit"]),
        k_bits=_carried_bits(row["quant_key_bit"]),
        v_bits=_carried_bits(row["quant_value_bit"]),
        k_lsb_bits=row["lsb_bits"],
        recomputed=recomputed,
        kv_policy=np.where(revived > 0, "revive", "full"),
        keys_revived=revived,
        recomputed_queries=[
            ordinals[i] if needs else None for i, needs in enumerate(recomputed > 0)
        ],
    )


def _carried_bits(bits: IntArray) -> IntArray:
    carried: IntArray = np.where(bits == -1, ON_CHIP_BITS, np.minimum(bits, ON_CHIP_BITS))
    return carried


def _add_selections(
    builder: TraceBuilder, rows: pd.DataFrame, heads: pd.DataFrame, layers: pd.DataFrame
) -> None:
    local = heads[heads["value_fetch_num"] < heads["key_fetch_num"]]
    builder.add(
        "topk",
        len(local),
        sequence=0,
        step=local["iteration_id"].to_numpy(),
        layer=local["layer_id"].to_numpy(),
        kind="value",
        head=local["head_id"].to_numpy(),
        operations=local["queries"].to_numpy(),
        n=local["key_fetch_num"].to_numpy(),
        k=local["value_fetch_num"].to_numpy(),
    )
    flagged = rows[rows["if_topk"]].drop_duplicates(["iteration_id", "layer_id"], keep="last")
    chosen = flagged.merge(
        layers, left_on=["iteration_id", "layer_id"], right_on=["step", "layer"], how="left"
    )
    grows_back = chosen["topk"] > chosen["alive"]  # the choice is then among all tokens
    builder.add(
        "topk",
        len(chosen),
        sequence=0,
        step=chosen["step"].to_numpy(),
        layer=chosen["layer"].to_numpy(),
        kind="token",
        operations=1,
        n=np.where(grows_back, chosen["tokens_dense"], chosen["alive"]),
        k=chosen["topk"].to_numpy(),
    )


def _header(workload: SpattenCsv, heads: pd.DataFrame, name: str) -> TraceHeader:
    head_dim = int(heads["embedding_length_D"].iloc[0])
    count = int(heads["head_id"].max()) + 1
    shape = ModelShape(
        name=name,
        layers=int(heads["layer_id"].max()) + 1,
        heads=count,
        kv_heads=count,
        head_dim=head_dim,
        hidden=count * head_dim,
        intermediate=4 * count * head_dim,
        source="shape inferred from the file",
    )
    return TraceHeader(
        workload=name,
        model=shape,
        method="spatten-authors",
        parameters={} if workload.footer is None else {"configuration": workload.footer},
        seed=0,
        accuracy={},
        synthetic=False,
        notes=(
            "Sparsity measured by the SpAtten authors, who published no accuracy with it. "
            f"Unquantised operands and wider queries are carried as {ON_CHIP_BITS} bits, the "
            "on-chip width, without LSBs. Requantisation thresholds are not kept. Step n is "
            "iteration n - 1 of the file."
        ),
    )


def _scalar_frame(trace: Trace, table: str, sequence: int) -> pd.DataFrame:
    columns = {
        column.name: trace.array(table, column.name)
        for column in TABLES[table].columns
        if not column.is_list
    }
    frame = pd.DataFrame(columns).assign(row=np.arange(trace.rows(table)))
    return frame[frame["sequence"] == sequence]


def _query_rows(trace: Trace, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each query of the alive heads, without selections."""
    queries = runs["queries"].to_numpy()
    of = runs.loc[runs.index.repeat(queries)]
    starts = np.cumsum(queries) - queries
    ordinal = np.arange(len(of)) - np.repeat(starts, queries)
    full = (of["k_bits"] == ON_CHIP_BITS) & (of["k_lsb_bits"] == 0)
    unquantised = {name: of[name].replace(ON_CHIP_BITS, -1) for name in ("q_bits", "v_bits")}
    rank = runs.groupby(["step", "layer"]).cumcount()
    columns = {
        "iteration_id": of["step"],
        "layer_id": of["layer"],
        "head_id": rank.loc[of.index],
        "embedding_length_D": of["head_dim"],
        "sentence_length_L": of["keys_dense"],
        "key_fetch_num": of["keys"],
        "quant_key_bit": of["k_bits"].where(~full, -1),
        "quant_query_bit": unquantised["q_bits"],
        "auto_requant_thres": -1.0,
        "if_requant": _recomputed_flags(trace, runs, ordinal < of["recomputed"].to_numpy()),
        "auto_requant_incre": of["k_lsb_bits"].where(of["k_lsb_bits"] > 0, -1),
        "value_fetch_num": of["values"],
        "quant_value_bit": unquantised["v_bits"],
        "if_accumulate_importance": False,
        "if_rescale_previous_importance": False,
        "if_topk": False,
        "topk": -1,
    }
    rows = pd.DataFrame(
        {name: np.broadcast_to(column, len(of)) for name, column in columns.items()}
    )
    return rows.astype(COLUMNS)


def _recomputed_flags(trace: Trace, runs: pd.DataFrame, guess: Any) -> Any:
    """Mark the recomputed queries; where only their number is known, the first ones (`guess`)."""
    listed = trace.ragged("attention", "recomputed_queries")
    flags = np.array(guess, np.bool_)
    start = 0
    for row, queries in zip(runs["row"], runs["queries"], strict=True):
        if listed.given[row]:
            flags[start : start + queries] = False
            flags[start + listed.row(row)] = True
        start += queries
    return flags


def _mark_selections(rows: pd.DataFrame, selections: pd.DataFrame) -> None:
    """Put the token selection of a layer on the layer's last row, as the authors do."""
    tokens = selections[selections["kind"] == "token"]
    kept = dict(zip(zip(tokens["step"], tokens["layer"], strict=True), tokens["k"], strict=True))
    last = rows[~rows.duplicated(["iteration_id", "layer_id"], keep="last")]
    pairs = zip(last["iteration_id"], last["layer_id"], strict=True)
    topk = np.array([kept.get(pair, -1) for pair in pairs], np.int64)
    rows.loc[last.index, "topk"] = topk
    rows.loc[last.index, "if_topk"] = topk != -1
