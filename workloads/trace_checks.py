"""What must hold between the numbers of a trace. Every failure names the file, row and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from workloads.errors import InputError
from workloads.trace import TABLES, Column, Ragged, TableSchema, Trace, rises

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

# (table, smaller column, larger column): smaller <= larger in every row
_ORDERED = (
    ("sequences", "tokens", "tokens_dense"),
    ("attention", "queries", "queries_dense"),
    ("attention", "keys", "keys_dense"),
    ("attention", "values", "keys"),
    ("attention", "values_fetched", "keys"),
    ("attention", "values", "values_fetched"),
    ("attention", "recomputed", "queries"),
    ("attention", "key_channels", "head_dim"),
    ("attention", "value_channels", "head_dim"),
    ("attention", "scored_keys", "keys_dense"),
    ("attention", "scored_channels", "head_dim"),
    ("matmul", "m", "m_dense"),
    ("matmul", "pattern_n", "pattern_m"),
    ("tokens", "alive", "tokens_dense"),
    ("tokens", "bypassed", "alive"),
    ("topk", "k", "n"),
)

# (table, list column, its length, bound that every element stays below)
_LISTS: tuple[tuple[str, str, str | None, str | None], ...] = (
    ("attention", "key_ids", "keys", "keys_dense"),
    ("attention", "value_ids", "values_fetched", "keys_dense"),
    ("attention", "recomputed_queries", "recomputed", "queries"),
    ("attention", "channel_ids", "key_channels", "head_dim"),
    ("tokens", "token_ids", "alive", "tokens_dense"),
    ("tokens", "bypassed_ids", "bypassed", "tokens_dense"),
    ("matmul", "token_ids", "m", None),  # positions; an expert has fewer rows than those count
    ("attention", "delta_counts", "keys", None),
)

_SETS = frozenset(
    {"key_ids", "value_ids", "recomputed_queries", "channel_ids", "token_ids", "bypassed_ids"}
)


def check_trace(trace: Trace) -> None:
    """Check every declared range, every order between columns and every list of identities.

    Raises:
        InputError: with the file, the row, the column, the requirement and the value.
    """
    for schema in TABLES.values():
        for column in schema.columns:
            _check_range(trace, schema, column)
        _check_key(trace, schema)
    for table, smaller, larger in _ORDERED:
        low, high = trace.array(table, smaller), trace.array(table, larger)
        _require(low <= high, table, low, f"{smaller} must be at most {larger}", high)
    for table, name, length, bound in _LISTS:
        _check_list(trace, table, name, length, bound)
    _check_importance(trace)
    _check_scores(trace)
    _check_layers(trace)


def _require(
    holds: BoolArray, table: str, values: Any, requirement: str, limit: Any = None
) -> None:
    if bool(np.all(holds)):
        return
    row = int(np.argmin(holds))
    bound = "" if limit is None else f" ({limit[row]})"
    raise InputError(f"{table}.parquet row {row}: {requirement}{bound}, not {values[row]}")


class _ListRows:
    """The row that an element of a list column belongs to, found only when it is asked for."""

    def __init__(self, offsets: Any) -> None:
        self._offsets = offsets

    def __getitem__(self, element: int) -> int:
        return int(np.searchsorted(self._offsets, element, side="right")) - 1


def _check_range(trace: Trace, schema: TableSchema, column: Column) -> None:
    owner: Any
    found = trace.tables[schema.name][column.name]
    if found.null_count == len(found) and column.nullable:
        return
    if column.choices and set(found.unique().to_pylist()) <= set(column.choices):
        return
    if column.is_list:
        ragged = trace.ragged(schema.name, column.name)
        values = ragged.values
        owner = _ListRows(ragged.offsets)
    else:
        values = trace.array(schema.name, column.name)
        owner = np.arange(len(values))
        if column.nullable:
            given = np.asarray(trace.tables[schema.name][column.name].is_valid())
            values, owner = values[given], owner[given]
    where = f"{schema.name}.parquet row"
    if column.choices:
        bad = ~np.isin(values, column.choices)
        if bad.any():
            at = int(np.argmax(bad))
            names = ", ".join(column.choices)
            raise InputError(
                f"{where} {owner[at]}: {column.name} must be one of {names}, not {values[at]!r}"
            )
    if not np.issubdtype(values.dtype, np.number):
        return
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        raise InputError(f"{where} {owner[at]}: {column.name} must be finite, not {values[at]}")
    for limit, wrong, word in (
        (column.low, np.less, "at least"),
        (column.high, np.greater, "at most"),
    ):
        if limit is not None and wrong(values, limit).any():
            at = int(np.argmax(wrong(values, limit)))
            raise InputError(
                f"{where} {owner[at]}: {column.name} must be {word} {limit:g}, not {values[at]}"
            )


def _check_key(trace: Trace, schema: TableSchema) -> None:
    if rises(trace.tables[schema.name], schema.key):
        return
    keys = trace.tables[schema.name].select(list(schema.key)).to_pandas()
    repeated = keys.duplicated().to_numpy()
    if repeated.any():
        row = int(np.argmax(repeated))
        key = ", ".join(f"{name} {value}" for name, value in keys.iloc[row].items())
        raise InputError(f"{schema.name}.parquet row {row}: {key} stands twice")
    if not keys.equals(keys.sort_values(list(schema.key), kind="stable")):
        raise InputError(f"{schema.name}.parquet must be sorted by {', '.join(schema.key)}")


def _check_list(trace: Trace, table: str, name: str, length: str | None, bound: str | None) -> None:
    ragged = trace.ragged(table, name)
    if length is not None:
        expected = trace.array(table, length)
        holds = ~ragged.given | (ragged.lengths == expected)
        _require(holds, table, ragged.lengths, f"{name} must have {length} entries", expected)
    if bound is None or not len(ragged.values):
        return
    rows = np.repeat(np.arange(len(ragged.lengths)), ragged.lengths)
    limits = trace.array(table, bound)[rows]
    outside = ragged.values >= limits
    if outside.any():
        at = int(np.argmax(outside))
        raise InputError(
            f"{table}.parquet row {rows[at]}: {name} must be below {bound} ({limits[at]}), "
            f"not {ragged.values[at]}"
        )
    if name in _SETS:
        _check_distinct(ragged, rows, table, name)


def _check_distinct(ragged: Ragged, rows: Any, table: str, name: str) -> None:
    rises = (ragged.values[1:] > ragged.values[:-1]) | (rows[1:] != rows[:-1])
    if rises.all():  # ascending identities, the usual case: no need to sort millions of them
        return
    order = np.lexsort((ragged.values, rows))
    values, owners = ragged.values[order], rows[order]
    twice = (values[1:] == values[:-1]) & (owners[1:] == owners[:-1])
    if twice.any():
        at = int(np.argmax(twice))
        raise InputError(
            f"{table}.parquet row {owners[at]}: {name} must be distinct, {values[at]} stands twice"
        )


def _check_importance(trace: Trace) -> None:
    importance = trace.ragged("tokens", "importance")
    alive = trace.array("tokens", "alive")
    holds = ~importance.given | (importance.lengths == alive)
    _require(holds, "tokens", importance.lengths, "importance must have alive entries", alive)


def _check_scores(trace: Trace) -> None:
    scores = trace.ragged("topk", "scores")
    expected = trace.array("topk", "operations").astype(np.int64) * trace.array("topk", "n")
    holds = ~scores.given | (scores.lengths == expected)
    _require(holds, "topk", scores.lengths, "scores must have operations times n entries", expected)


def _check_layers(trace: Trace) -> None:
    """Indices stay inside the model, and every sequence that is used was declared."""
    model = trace.header.model
    for table in ("attention", "matmul", "tokens", "topk"):
        layer = trace.array(table, "layer")
        _require(layer < model.layers, table, layer, f"layer must be below {model.layers}")
        sequence = trace.array(table, "sequence")
        declared = np.isin(sequence, trace.array("sequences", "sequence"))
        _require(declared, table, sequence, "sequence must be in sequences.parquet")
    head = trace.array("attention", "head")
    _require(head < model.heads, "attention", head, f"head must be below {model.heads}")
    alive = trace.array("attention", "alive")
    queries = trace.array("attention", "queries")
    _require(alive | (queries == 0), "attention", queries, "queries of a pruned head must be 0")
