"""The trace: the only thing that crosses from an algorithm to a machine.

A trace is a folder `NAME.trace/` with `trace.json` (the header) and one Parquet file for each
kind of operation. Every column of every file is declared here, once; reading is strict.

Conventions. A *sequence* is one input of the workload. *Step* 0 is the prefill or the encoder
pass; each generated token is one more step. Identities of tokens (`key_ids` and the like) are
positions in the unpruned sequence. A `_dense` column says what the same operation would need
without pruning, so a machine that cannot exploit a sparsity can still be charged for it.
A list column may be null: then only its count is known. Per-head rows of pruned heads stay in
the trace with `alive` false and counts of 0.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workloads.errors import InputError
from workloads.shapes import ModelShape

SCHEMA_VERSION = 1

IntArray = np.ndarray[Any, np.dtype[np.int64]]
REQUIRED = object()  # marks a column that a writer must give

_TYPES: dict[str, pa.DataType] = {
    "int32": pa.int32(),
    "float32": pa.float32(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "list<int32>": pa.list_(pa.int32()),
    "list<uint16>": pa.list_(pa.uint16()),
    "list<float32>": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class Column:
    """One column: its type, what a writer may leave out, and the range a reader enforces."""

    name: str
    type: str
    doc: str
    default: Any = REQUIRED
    low: float | None = 0
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_list(self) -> bool:
        return self.type.startswith("list<")

    @property
    def nullable(self) -> bool:
        return self.default is None

    @property
    def arrow(self) -> pa.Field:
        return pa.field(self.name, _TYPES[self.type], nullable=self.nullable)


@dataclass(frozen=True)
class TableSchema:
    """One Parquet file of a trace: its columns and the ones that identify a row."""

    name: str
    key: tuple[str, ...]
    doc: str
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        return pa.schema([column.arrow for column in self.columns])


_SEQUENCE = Column("sequence", "int32", "input of the workload, from 0")
_STEP = Column("step", "int32", "0: prefill or encoder pass; n: n-th generated token")
_LAYER = Column("layer", "int32", "transformer block, from 0")
_FLAG: dict[str, Any] = {"low": None, "high": None}
_RATIO: dict[str, Any] = {"low": 0.0, "high": 1.0}

SEQUENCES = TableSchema(
    "sequences",
    ("sequence",),
    "one row per input",
    (
        _SEQUENCE,
        Column("tokens_dense", "int32", "tokens of the full input", low=1),
        Column("tokens", "int32", "tokens after the prompt was shortened", low=1),
        Column("generated_tokens", "int32", "tokens generated after the prefill", 0),
    ),
)

ATTENTION = TableSchema(
    "attention",
    ("sequence", "step", "layer", "head"),
    "one row per head of one layer of one step",
    (
        _SEQUENCE,
        _STEP,
        _LAYER,
        Column("head", "int32", "query head, in the unpruned numbering"),
        Column("kv_head", "int32", "key/value head that serves it"),
        Column("alive", "bool", "false: the head was pruned, nothing runs", True, **_FLAG),
        Column("queries_dense", "int32", "queries without pruning"),
        Column("queries", "int32", "queries computed"),
        Column("keys_dense", "int32", "keys without pruning"),
        Column("keys", "int32", "keys attended to"),
        Column("values", "int32", "V rows used by each query, after local value pruning"),
        Column("values_fetched", "int32", "distinct V rows used by any query"),
        Column("head_dim", "int32", "channels of the head", low=1),
        Column("q_bits", "int32", "bits of an element of Q", low=1, high=32),
        Column(
            "k_bits", "int32", "bits of K fetched first (all, or the MSB plane)", low=1, high=32
        ),
        Column("v_bits", "int32", "bits of V fetched first", low=1, high=32),
        Column("k_lsb_bits", "int32", "bits of the K plane fetched on demand; 0: none", 0, high=32),
        Column("v_lsb_bits", "int32", "bits of the V plane fetched on demand; 0: none", 0, high=32),
        Column("recomputed", "int32", "queries recomputed with LSBs", 0),
        Column("key_channels", "int32", "channels of K kept; 0: all", 0),
        Column("value_channels", "int32", "channels of V kept; 0: all", 0),
        Column("key_rank", "int32", "width of a low-rank K; 0: not low-rank", 0),
        Column("value_rank", "int32", "width of a low-rank V; 0: not low-rank", 0),
        Column("key_density", "float32", "elements of K kept inside the kept rows", 1.0, **_RATIO),
        Column("value_density", "float32", "elements of V kept in the kept rows", 1.0, **_RATIO),
        Column("scored_keys", "int32", "keys a cheap scoring pass looks at; 0: no such pass", 0),
        Column("scored_channels", "int32", "channels that scoring pass reads", 0),
        Column(
            "kv_policy",
            "string",
            "which keys the head's cache may hold",
            "full",
            choices=("full", "sink_recent", "evict", "revive", "reselect"),
        ),
        Column("sink_tokens", "int32", "first tokens always kept by the policy", 0),
        Column("recent_tokens", "int32", "latest tokens always kept by the policy", 0),
        Column("keys_evicted", "int32", "keys dropped from the cache before this step", 0),
        Column("keys_revived", "int32", "keys brought back before this step", 0),
        Column("block_queries", "int32", "rows of an attention block; 0: no block mask", 0),
        Column("block_keys", "int32", "columns of an attention block; 0: no block mask", 0),
        Column("blocks", "int32", "attention blocks computed", 0),
        Column("delta_density", "float32", "nonzero share of a temporal delta of K", 1.0, **_RATIO),
        Column("delta_window", "int32", "latest keys computed in full beside a delta", 0),
        Column("head_importance", "float32", "accumulated importance of the head", None, low=None),
        Column("key_ids", "list<int32>", "positions of the keys attended to", None),
        Column("value_ids", "list<int32>", "positions of the V rows used by any query", None),
        Column("recomputed_queries", "list<int32>", "ordinals among the computed queries", None),
        Column("block_counts", "list<int32>", "blocks computed in each row of blocks", None),
        Column("block_ids", "list<int32>", "block columns, row of blocks by row", None),
        Column("channel_ids", "list<int32>", "channels of K kept", None),
        Column("delta_counts", "list<int32>", "nonzeros of the delta of each key", None),
    ),
)

MATMUL = TableSchema(
    "matmul",
    ("sequence", "step", "layer", "operator", "expert"),
    "one row per matrix product with weights: (m, k) activations times (k, n) weights",
    (
        _SEQUENCE,
        _STEP,
        _LAYER,
        Column(
            "operator", "string", "query, key, value, output, up, gate, down, router ...", low=None
        ),
        Column("expert", "int32", "expert of a mixture; -1: none", -1, low=-1),
        Column("skipped", "bool", "true: pruned with its layer, nothing runs", False, **_FLAG),
        Column("m_dense", "int32", "rows of activations without pruning"),
        Column("k_dense", "int32", "input width without pruning"),
        Column("n_dense", "int32", "output width without pruning"),
        Column("m", "int32", "rows of activations computed"),
        Column("k", "int32", "input width computed"),
        Column("n", "int32", "output width computed"),
        Column("weight_bits", "int32", "bits of a weight", 32, low=1, high=32),
        Column("activation_bits", "int32", "bits of an activation", 32, low=1, high=32),
        Column(
            "pattern",
            "string",
            "how the weights are sparse",
            "dense",
            choices=("dense", "n:m", "unstructured", "block", "structured"),
        ),
        Column("density", "float32", "weights kept in the (k, n) matrix", 1.0, **_RATIO),
        Column("pattern_n", "int32", "n of an n:m pattern; 0: none", 0),
        Column("pattern_m", "int32", "m of an n:m pattern; 0: none", 0),
        Column("block_rows", "int32", "rows of a weight block; 0: none", 0),
        Column("block_columns", "int32", "columns of a weight block; 0: none", 0),
        Column("activation_density", "float32", "activations not zero", 1.0, **_RATIO),
        Column("row_nonzeros", "list<int32>", "weights kept for each output: load balance", None),
        Column("block_ids", "list<int32>", "weight blocks kept, row-major", None),
        Column("token_ids", "list<int32>", "tokens computed (routing, per-token depth)", None),
    ),
)

TOKENS = TableSchema(
    "tokens",
    ("sequence", "step", "layer"),
    "one row per layer of one step: which tokens enter it",
    (
        _SEQUENCE,
        _STEP,
        _LAYER,
        Column("tokens_dense", "int32", "tokens without pruning"),
        Column("alive", "int32", "tokens that enter the layer"),
        Column("merged", "int32", "tokens merged into others before the layer", 0),
        Column("revived", "int32", "tokens brought back before the layer", 0),
        Column("bypassed", "int32", "tokens alive that skip the layer's computation", 0),
        Column("bypassed_keep_kv", "bool", "bypassed tokens still write K and V", False, **_FLAG),
        Column("attention_skipped", "bool", "the attention sublayer is pruned", False, **_FLAG),
        Column("ffn_skipped", "bool", "the feed-forward sublayer is pruned", False, **_FLAG),
        Column("token_ids", "list<int32>", "positions of the tokens that enter", None),
        Column(
            "importance",
            "list<float32>",
            "accumulated importance, one per token_ids",
            None,
            low=None,
        ),
        Column("bypassed_ids", "list<int32>", "positions of the tokens that skip", None),
        Column("merge_groups", "list<int32>", "for each token before merging, its group", None),
        Column("merge_weights", "list<float32>", "weight of each token in its group", None),
    ),
)

TOPK = TableSchema(
    "topk",
    ("sequence", "step", "layer", "kind", "head"),
    "one row per group of top-k selections that hardware must perform at run time",
    (
        _SEQUENCE,
        _STEP,
        _LAYER,
        Column("kind", "string", "what is selected", choices=("token", "head", "value", "key")),
        Column("head", "int32", "head it belongs to; -1: the whole layer", -1, low=-1),
        Column("operations", "int32", "selections in the group (one a query for values)", low=1),
        Column("n", "int32", "elements selected from", low=1),
        Column("k", "int32", "elements kept"),
        Column(
            "scores",
            "list<uint16>",
            "what the selector sees: `operations` rows of `n` unsigned 12-bit numbers",
            None,
            high=4095,
        ),
    ),
)

TABLES: dict[str, TableSchema] = {
    table.name: table for table in (SEQUENCES, ATTENTION, MATMUL, TOKENS, TOPK)
}


@dataclass(frozen=True, kw_only=True)
class TraceHeader:
    """What the numbers of a trace belong to. Stored as `trace.json`."""

    workload: str
    model: ModelShape
    method: str
    parameters: dict[str, Any]
    seed: int
    accuracy: dict[str, float]  # measured in the same run as the trace; empty: none was
    synthetic: bool  # True: sparsity was assumed, not measured on a model
    notes: str = ""
    prunesim_version: str = field(default_factory=partial(version, "prunesim"))
    schema_version: int = SCHEMA_VERSION


class Ragged(NamedTuple):
    """A list column: row i is `values[offsets[i]:offsets[i + 1]]` if `given[i]`, else unknown."""

    values: np.ndarray[Any, Any]
    offsets: IntArray
    given: np.ndarray[Any, np.dtype[np.bool_]]

    def row(self, i: int) -> np.ndarray[Any, Any]:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> IntArray:
        return np.diff(self.offsets)

    def take(self, rows: IntArray, known: Any) -> Ragged:
        """Return some rows, in that order; those where `known` is false become unknown."""
        if not len(self.given):
            known, rows = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.int64)
            sizes = rows
        else:
            known = known & self.given[rows]
            sizes = np.where(known, self.lengths[rows], 0)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        starts = self.offsets[rows] - offsets[:-1]
        index = np.repeat(starts, sizes) + np.arange(offsets[-1])
        return Ragged(self.values[index], offsets, known)


@dataclass(frozen=True)
class Trace:
    """A header and one Arrow table for each entry of `TABLES`, rows sorted by their key."""

    header: TraceHeader
    tables: dict[str, pa.Table]

    def array(self, table: str, column: str) -> np.ndarray[Any, Any]:
        """Return a scalar column; nulls become NaN."""
        values: np.ndarray[Any, Any] = self.tables[table][column].to_numpy()
        return values

    def ragged(self, table: str, column: str) -> Ragged:
        """Return a list column."""
        return _ragged(self.tables[table][column])

    def rows(self, table: str) -> int:
        return int(self.tables[table].num_rows)


class TraceBuilder:
    """Collects blocks of rows and makes a checked `Trace` of them."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}

    def add(self, table: str, rows: int, **columns: Any) -> None:
        """Append `rows` rows. A scalar is repeated; a column left out takes its default.

        A list column takes a sequence of `rows` arrays (or None), or a `(rows, width)` array.
        """
        schema = TABLES[table]
        unknown = set(columns) - {column.name for column in schema.columns}
        if unknown:
            raise InputError(f"{table} has no column {sorted(unknown)[0]!r}")
        arrays = [
            _arrow_column(schema, column, columns.get(column.name, column.default), rows)
            for column in schema.columns
        ]
        self._blocks[table].append(pa.Table.from_arrays(arrays, schema=schema.arrow))

    def finish(self, header: TraceHeader) -> Trace:
        """Sort every table by its key and check the whole.

        Raises:
            InputError: a number is out of range or two columns contradict each other.
        """
        from workloads.trace_checks import check_trace

        tables = {}
        for name, schema in TABLES.items():
            table = pa.concat_tables([schema.arrow.empty_table(), *self._blocks[name]])
            if not rises(table, schema.key):
                table = table.sort_by([(key, "ascending") for key in schema.key])
            tables[name] = table.combine_chunks()
        trace = Trace(header, tables)
        check_trace(trace)
        return trace


def rises(table: pa.Table, key: tuple[str, ...]) -> bool:
    """Tell quickly whether rows ascend strictly by a key of numbers; false may mean unknown."""
    if any(not pa.types.is_integer(table.schema.field(name).type) for name in key):
        return False
    if any(table[name].null_count for name in key):
        return False
    open_pairs = np.ones(max(table.num_rows - 1, 0), np.bool_)  # equal so far
    for name in key:
        values = table[name].to_numpy()
        if bool((values[1:] < values[:-1])[open_pairs].any()):
            return False
        open_pairs &= values[1:] == values[:-1]
    return not bool(open_pairs.any())


def write_trace(trace: Trace, folder: Path) -> None:
    """Write a trace folder. An older trace of that name is replaced only when all is written."""
    if folder.exists() and not (folder / "trace.json").is_file():
        raise InputError(f"{folder} must be a trace folder or not exist, it holds other files")
    unfinished = folder.with_name(folder.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, table in trace.tables.items():
        pq.write_table(table, unfinished / f"{name}.parquet", compression="zstd")
    header = asdict(trace.header) | {"rows": {name: trace.rows(name) for name in TABLES}}
    (unfinished / "trace.json").write_text(json.dumps(header, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def read_trace(folder: Path) -> Trace:
    """Read and check a trace folder.

    Raises:
        InputError: no trace, an unknown schema version, a truncated or foreign Parquet file, a
            missing or unknown column, a wrong type, a number out of range (named by row).
    """
    from workloads.trace_checks import check_trace

    header, row_counts = _read_header(folder)
    tables = {name: _read_table(folder, schema, row_counts) for name, schema in TABLES.items()}
    trace = Trace(header, tables)
    check_trace(trace)
    return trace


def _read_header(folder: Path) -> tuple[TraceHeader, Mapping[str, int]]:
    path = folder / "trace.json"
    if not path.is_file():
        raise InputError(f"{folder} must be a trace folder with a trace.json, there is none")
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} must be JSON: {error}") from error
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version must be {SCHEMA_VERSION}, not {found!r}")
    try:
        row_counts = {name: int(raw["rows"][name]) for name in TABLES}
        del raw["rows"]
        raw["model"] = ModelShape(**raw["model"])
        return TraceHeader(**raw), row_counts
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} must hold every header field: {error}") from error


def _read_table(folder: Path, schema: TableSchema, row_counts: Mapping[str, int]) -> pa.Table:
    path = folder / f"{schema.name}.parquet"
    if not path.is_file():
        raise InputError(f"{folder} must hold {path.name}, it does not")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} must be a complete Parquet file: {reason}") from error
    expected = schema.arrow
    for column in expected:
        if column.name not in table.column_names:
            raise InputError(f"{path} must have a column {column.name!r}, it has none")
        if table.schema.field(column.name).type != column.type:
            found = table.schema.field(column.name).type
            raise InputError(f"{path}: {column.name} must be {column.type}, not {found}")
    extra = set(table.column_names) - set(expected.names)
    if extra:
        raise InputError(f"{path}: column {sorted(extra)[0]!r} is not in schema {SCHEMA_VERSION}")
    if table.num_rows != row_counts[schema.name]:
        raise InputError(
            f"{path} must have {row_counts[schema.name]} rows as trace.json says, "
            f"not {table.num_rows}"
        )
    table = table.select(expected.names).combine_chunks()
    for column in expected:
        if not column.nullable and table[column.name].null_count:
            row = table[column.name].is_null().to_pylist().index(True)
            raise InputError(f"{path} row {row}: {column.name} must not be null")
    return table.cast(expected)


def _ragged(column: pa.ChunkedArray) -> Ragged:
    if column.null_count == len(column):  # nothing is known, the usual case for most columns
        empty = np.zeros(0, column.type.value_type.to_pandas_dtype())
        return Ragged(empty, np.zeros(len(column) + 1, np.int64), np.zeros(len(column), np.bool_))
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    given = ~np.asarray(array.is_null())
    lengths = np.where(given, array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), 0)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(array.flatten().to_numpy(zero_copy_only=False), offsets, given)


def _arrow_column(schema: TableSchema, column: Column, value: Any, rows: int) -> pa.Array:
    if value is REQUIRED:
        raise InputError(f"{schema.name}.{column.name} must be given")
    kind = _TYPES[column.type]
    if value is None:
        return pa.nulls(rows, kind)
    if column.is_list:
        return _arrow_lists(kind, value, rows)
    array = np.asarray(value)
    array = np.broadcast_to(array, (rows,)) if array.ndim == 0 else array.reshape(rows)
    try:
        return pa.array(array, kind)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{schema.name}.{column.name} must be {column.type}: {error}") from error


def _arrow_lists(kind: pa.ListType, value: Any, rows: int) -> pa.Array:
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[0] == rows:
        offsets = np.arange(rows + 1) * value.shape[1]
        value = Ragged(value.reshape(-1), offsets, np.ones(rows, np.bool_))
    if isinstance(value, Ragged):
        array = pa.ListArray.from_arrays(
            pa.array(value.offsets, pa.int32()),
            pa.array(value.values, kind.value_type),
            mask=pa.array(~value.given),
        )
    else:
        array = pa.array([None if item is None else np.asarray(item) for item in value], kind)
    if len(array) != rows:
        raise InputError(f"a list column must have {rows} rows, not {len(array)}")
    return array
