"""The trace: random traces survive the disk, and every way to break one is told in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import trace as trace_module
from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.trace import (
    TABLES,
    Column,
    Ragged,
    Trace,
    TraceBuilder,
    TraceHeader,
    read_trace,
    rises,
    write_trace,
)

MODEL = ModelShape(
    name="tiny",
    layers=4,
    heads=4,
    kv_heads=4,
    head_dim=8,
    hidden=32,
    intermediate=64,
    source="test",
)


def header(**changes: Any) -> TraceHeader:
    values: dict[str, Any] = {
        "workload": "test", "model": MODEL, "method": "none", "parameters": {}, "seed": 0,
        "accuracy": {}, "synthetic": True,
    }  # fmt: skip
    return TraceHeader(**(values | changes))


def assert_equal(left: Trace, right: Trace) -> None:
    assert left.header == right.header
    for name, table in left.tables.items():
        assert table.equals(right.tables[name]), name
        assert table.schema.equals(right.tables[name].schema), name


# --- random traces ---------------------------------------------------------------------------

# (smaller, larger), in an order in which the larger one is final before the smaller is drawn
BOUNDED = {
    "sequences": [("tokens", "tokens_dense")],
    "attention": [
        ("queries", "queries_dense"), ("keys", "keys_dense"), ("values_fetched", "keys"),
        ("values", "values_fetched"), ("recomputed", "queries"), ("key_channels", "head_dim"),
        ("value_channels", "head_dim"), ("scored_keys", "keys_dense"),
        ("scored_channels", "head_dim"),
    ],
    "matmul": [("m", "m_dense"), ("pattern_n", "pattern_m")],
    "tokens": [("alive", "tokens_dense"), ("bypassed", "alive")],
    "topk": [("k", "n")],
}  # fmt: skip
# list column -> (its length, bound of its distinct elements)
SETS = {
    ("attention", "key_ids"): ("keys", "keys_dense"),
    ("attention", "value_ids"): ("values_fetched", "keys_dense"),
    ("attention", "recomputed_queries"): ("recomputed", "queries"),
    ("attention", "channel_ids"): ("key_channels", "head_dim"),
    ("tokens", "token_ids"): ("alive", "tokens_dense"),
    ("tokens", "bypassed_ids"): ("bypassed", "tokens_dense"),
    ("matmul", "token_ids"): ("m", "m_dense"),
}
LENGTHS = {("attention", "delta_counts"): "keys", ("tokens", "importance"): "alive"}


def draw_scalar(draw: st.DrawFn, column: Column) -> Any:
    if column.choices:
        return draw(st.sampled_from(column.choices))
    if column.type == "bool":
        return draw(st.booleans())
    if column.type == "string":
        return draw(st.text("queryé \u2013", max_size=8))
    low = -3 if column.low is None else column.low
    if column.type == "float32":
        high = 3.0 if column.high is None else column.high
        drawn = st.floats(float(low), high, width=32)
        return draw(st.none() | drawn if column.nullable else drawn)
    return draw(st.integers(int(low), int(12 if column.high is None else column.high)))


def draw_list(draw: st.DrawFn, table: str, column: Column, row: dict[str, Any]) -> Any:
    key = (table, column.name)
    if draw(st.booleans()):
        return None
    if key in SETS:
        size, bound = (row[name] for name in SETS[key])
        return draw(st.permutations(range(bound)))[:size]
    size = row[LENGTHS[key]] if key in LENGTHS else draw(st.integers(0, 4))
    if key == ("topk", "scores"):
        size = row["operations"] * row["n"]
    least = -2 if column.low is None else column.low
    element = st.floats(least, 2, width=32) if "float" in column.type else st.integers(0, 4095)
    return draw(st.lists(element, min_size=size, max_size=size))


def draw_row(draw: st.DrawFn, table: str, key: dict[str, Any]) -> dict[str, Any]:
    columns = [column for column in TABLES[table].columns if column.name not in key]
    row = key | {c.name: draw_scalar(draw, c) for c in columns if not c.is_list}
    for smaller, larger in BOUNDED[table]:
        least = 1 if table == "sequences" else 0
        row[smaller] = draw(st.integers(least, row[larger]))
    if table == "attention" and not row["alive"]:
        row |= {"queries": 0, "recomputed": 0}
    return row | {c.name: draw_list(draw, table, c, row) for c in columns if c.is_list}


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    builder = TraceBuilder()
    sequences = sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=2)))
    parts: dict[str, Any] = {
        "sequence": st.sampled_from(sequences), "step": st.integers(0, 2),
        "layer": st.integers(0, 3), "head": st.integers(0, 3), "expert": st.integers(-1, 2),
        "operator": st.sampled_from(["query", "up"]), "kind": st.sampled_from(["value", "token"]),
    }  # fmt: skip
    for name, schema in TABLES.items():
        drawn = [parts[column] for column in schema.key]
        keys = [(s,) for s in sequences] if name == "sequences" else (
            draw(st.lists(st.tuples(*drawn), unique=True, max_size=3))
        )  # fmt: skip
        for key in keys:
            row = draw_row(draw, name, dict(zip(schema.key, key, strict=True)))
            lists = {c.name for c in schema.columns if c.is_list}
            builder.add(name, 1, **{n: [v] if n in lists else v for n, v in row.items()})
    plain = st.integers() | st.booleans() | st.text(max_size=4) | st.floats(allow_nan=False)
    return builder.finish(
        header(
            parameters=draw(
                st.dictionaries(st.text(max_size=4), plain | st.lists(plain), max_size=3)
            ),
            accuracy=draw(st.dictionaries(st.text(max_size=4), st.floats(-1, 1), max_size=2)),
            notes=draw(st.text(max_size=8)),
            synthetic=draw(st.booleans()),
        )
    )


@given(traces())
@settings(max_examples=60)
def test_any_trace_survives_writing_and_reading(trace: Trace) -> None:
    with TemporaryDirectory() as folder:
        write_trace(trace, Path(folder) / "any.trace")
        assert_equal(read_trace(Path(folder) / "any.trace"), trace)


# --- one small trace, written ------------------------------------------------------------------


def small() -> Trace:
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=6, tokens=6)
    builder.add(
        "attention", 2, sequence=0, step=0, layer=0, head=[1, 0], kv_head=[1, 0], queries_dense=6,
        queries=3, keys_dense=6, keys=3, values=2, values_fetched=3, head_dim=8, q_bits=12,
        k_bits=12, v_bits=12, key_ids=[[0, 4, 5], [0, 2, 5]],
    )  # fmt: skip
    builder.add("tokens", 1, sequence=0, step=0, layer=0, tokens_dense=6, alive=3,
                importance=[[0.5, 0.25, 1.0]])  # fmt: skip
    builder.add("topk", 1, sequence=0, step=0, layer=0, kind="token", operations=1, n=3, k=2)
    builder.add("matmul", 1, sequence=0, step=0, layer=0, operator="up", m_dense=6, k_dense=8,
                n_dense=8, m=3, k=8, n=8)  # fmt: skip
    return builder.finish(header())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_trace(small(), tmp_path / "a.trace")
    return tmp_path / "a.trace"


def replace_column(folder: Path, table: str, column: str, values: list[Any]) -> None:
    """Write other values into one column, past all checks of a writer."""
    path = folder / f"{table}.parquet"
    old = pq.read_table(path)
    at = old.schema.get_field_index(column)
    field = pa.field(column, old.schema.field(at).type)
    pq.write_table(old.set_column(at, field, pa.array(values, field.type)), path)


def assert_refused(folder: Path, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        read_trace(folder)
    assert "\n" not in str(error.value)
    assert re.search(sentence, str(error.value)), str(error.value)


def test_twin_rows_with_names_are_told_plainly() -> None:
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=9, tokens=9)
    builder.add("topk", 2, sequence=0, step=0, layer=1, kind="token", operations=1, n=3, k=2)
    with pytest.raises(
        InputError, match="row 1: sequence 0, step 0, layer 1, kind token, head -1 st"
    ):
        builder.finish(header())


def test_rows_are_sorted_by_their_key() -> None:
    assert small().array("attention", "head").tolist() == [0, 1]
    assert small().ragged("attention", "key_ids").row(0).tolist() == [0, 2, 5]


@pytest.mark.parametrize(
    ("table", "column", "values", "sentence"),
    [
        ("attention", "key_ids", [[0, 2, 6], None],
         r"row 0: key_ids must be below keys_dense \(6\), not 6"),
        ("attention", "key_ids", [None, [0, -1, 2]], "row 1: key_ids must be at least 0, not -1"),
        ("attention", "key_ids", [[5, 2, 5], None], "row 0: key_ids must be distinct, 5 stands"),
        ("attention", "key_ids", [None, [5, 2]],
         r"row 1: key_ids must have keys entries \(3\), not 2"),
        ("attention", "recomputed_queries", [[0], None],
         r"row 0: recomputed_queries must have recomputed entries \(0\), not 1"),
        ("attention", "keys", [3, -1], "row 1: keys must be at least 0, not -1"),
        ("attention", "keys", [3, 7], r"row 1: keys must be at most keys_dense \(6\), not 7"),
        ("attention", "values", [2, 5], r"row 1: values must be at most keys \(3\), not 5"),
        ("attention", "q_bits", [12, 40], "row 1: q_bits must be at most 32, not 40"),
        ("attention", "key_density", [1.0, 1.5], "row 1: key_density must be at most 1, not 1.5"),
        ("attention", "key_density", [1.0, float("nan")], "row 1: key_density must be finite"),
        ("attention", "kv_policy", ["full", "some"],
         "row 1: kv_policy must be one of full, sink_recent, evict, revive, reselect, not 'some'"),
        ("attention", "head", [0, 4], "row 1: head must be below 4, not 4"),
        ("attention", "head", [1, 0], "must be sorted by sequence, step, layer, head"),
        ("attention", "head", [0, 0], "row 1: sequence 0, step 0, layer 0, head 0 stands twice"),
        ("attention", "alive", [True, False], "row 1: queries of a pruned head must be 0, not 3"),
        ("attention", "sequence", [0, 7], "row 1: sequence must be in sequences.parquet, not 7"),
        ("attention", "keys", [3, None], "row 1: keys must not be null"),
        ("tokens", "importance", [[1.0, float("nan"), 2.0]],
         "tokens.parquet row 0: importance must be finite, not nan"),
        ("tokens", "importance", [[1.0]],
         r"tokens.parquet row 0: importance must have alive entries \(3\), not 1"),
        ("tokens", "layer", [4], "tokens.parquet row 0: layer must be below 4, not 4"),
        ("topk", "scores", [[1, 2]],
         r"topk.parquet row 0: scores must have operations times n entries \(3\), not 2"),
        ("topk", "scores", [[1, 2, 4096]], "topk.parquet row 0: scores must be at most 4095, not"),
        ("topk", "k", [4], r"topk.parquet row 0: k must be at most n \(3\), not 4"),
        ("matmul", "operator", ["up"], None),
        ("sequences", "tokens_dense", [0], "sequences.parquet row 0: tokens_dense must be at leas"),
    ],
)  # fmt: skip
def test_wrong_number_is_named_by_row_and_column(
    folder: Path, table: str, column: str, values: list[Any], sentence: str | None
) -> None:
    replace_column(folder, table, column, values)
    if sentence is None:  # the same value again: the way of tampering is itself harmless
        assert_equal(read_trace(folder), small())
    else:
        assert_refused(folder, sentence)


def test_no_folder(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.trace", "none.trace must be a trace folder with a trace.json")


def test_no_header(folder: Path) -> None:
    (folder / "trace.json").unlink()
    assert_refused(folder, r"a\.trace must be a trace folder with a trace.json, there is none$")


def test_header_not_json(folder: Path) -> None:
    (folder / "trace.json").write_text("{")
    assert_refused(folder, r"trace\.json must be JSON: ")
    (folder / "trace.json").write_bytes(b"\xff{}")
    assert_refused(folder, r"trace\.json must be JSON: ")


def edit_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads((folder / "trace.json").read_text())
    change(raw)
    (folder / "trace.json").write_text(json.dumps(raw))


def test_unknown_version(folder: Path) -> None:
    edit_header(folder, lambda raw: raw.update(schema_version=9))
    assert_refused(folder, r"trace\.json: schema_version must be 1, not 9$")
    (folder / "trace.json").write_text("[]")
    assert_refused(folder, r"trace\.json: schema_version must be 1, not None$")


@pytest.mark.parametrize("name", ["seed", "model", "rows", "synthetic"])
def test_header_without_a_field(folder: Path, name: str) -> None:
    edit_header(folder, lambda raw: raw.pop(name))
    assert_refused(folder, rf"trace\.json must hold every header field: .*'{name}'")


def test_header_with_another_field(folder: Path) -> None:
    edit_header(folder, lambda raw: raw.update(colour="red"))
    assert_refused(folder, r"trace\.json must hold every header field: .*colour")


def test_missing_table(folder: Path) -> None:
    (folder / "topk.parquet").unlink()
    assert_refused(folder, r"a\.trace must hold topk\.parquet, it does not$")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_table(folder: Path, keep: float) -> None:
    path = folder / "attention.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert_refused(folder, r"attention\.parquet must be a complete Parquet file: ")


def test_foreign_table(folder: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), folder / "attention.parquet")
    assert_refused(folder, r"attention\.parquet must have a column 'sequence', it has none$")


def edit_table(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "attention.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def test_missing_column(folder: Path) -> None:
    edit_table(folder, lambda table: table.drop_columns(["keys"]))
    assert_refused(folder, r"attention\.parquet must have a column 'keys', it has none$")


def test_extra_column(folder: Path) -> None:
    edit_table(folder, lambda table: table.append_column("colour", pa.array(["red", "blue"])))
    assert_refused(folder, r"attention\.parquet: column 'colour' is not in schema 1$")


def test_wrong_type(folder: Path) -> None:
    edit_table(
        folder,
        lambda t: t.set_column(t.schema.get_field_index("keys"), "keys", pa.array([3, 3])),
    )
    assert_refused(folder, r"attention\.parquet: keys must be int32, not int64$")


def test_other_number_of_rows(folder: Path) -> None:
    edit_table(folder, lambda table: table.slice(0, 1))
    assert_refused(folder, r"attention\.parquet must have 2 rows as trace\.json says, not 1$")


def test_order_of_columns_does_not_matter(folder: Path) -> None:
    edit_table(folder, lambda table: table.select(table.column_names[::-1]))
    assert_equal(read_trace(folder), small())


# --- writing -----------------------------------------------------------------------------------


def test_interrupted_write_leaves_the_old_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(trace_module.pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_trace(small(), folder)
    monkeypatch.undo()
    assert_equal(read_trace(folder), small())
    write_trace(small(), folder)  # what the interrupted one left is no obstacle
    assert [path.name for path in folder.parent.iterdir()] == ["a.trace"]


def test_a_trace_replaces_an_older_one(folder: Path) -> None:
    newer = Trace(header(seed=7), small().tables)
    write_trace(newer, folder)
    assert read_trace(folder).header.seed == 7


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be a trace folder or not exist, it holds other"):
        write_trace(small(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_any_pandas_user_can_open_a_table(folder: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(folder / "attention.parquet")
    assert frame["key_ids"].iloc[1].tolist() == [0, 4, 5]


# --- building ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"colour": 1}, "^sequences has no column 'colour'$"),
        ({"tokens": 1}, r"^sequences\.tokens_dense must be given$"),
        ({"tokens": 1, "tokens_dense": "many"}, r"^sequences\.tokens_dense must be int32: "),
        ({"tokens": 1, "tokens_dense": 2**40}, r"^sequences\.tokens_dense must be int32: "),
        ({"tokens": 1, "tokens_dense": 1.5}, r"^sequences\.tokens_dense must be int32: "),
    ],
)
def test_builder_refuses_a_column(columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TraceBuilder().add("sequences", 1, sequence=0, **columns)


def test_builder_checks_the_whole() -> None:
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=2, tokens=3)
    with pytest.raises(InputError, match=r"tokens must be at most tokens_dense \(2\), not 3"):
        builder.finish(header())


def test_lists_may_be_a_matrix_a_ragged_or_a_sequence() -> None:
    def ids(value: Any) -> list[list[int] | None]:
        builder = TraceBuilder()
        builder.add("sequences", 1, sequence=0, tokens_dense=9, tokens=9)
        builder.add("tokens", 2, sequence=0, step=0, layer=[0, 1], tokens_dense=9, alive=2,
                    token_ids=value)  # fmt: skip
        listed: list[list[int] | None] = (
            builder.finish(header()).tables["tokens"]["token_ids"].to_pylist()
        )
        return listed

    matrix = np.array([[1, 2], [3, 4]])
    given = np.array([False, True])
    ragged = Ragged(np.array([3, 4]), np.array([0, 0, 2]), given)
    assert ids(matrix) == ids(list(matrix)) == [[1, 2], [3, 4]]
    assert ids(ragged) == ids([None, [3, 4]]) == [None, [3, 4]]
    with pytest.raises(InputError, match=r"^a list column must have 2 rows, not 1$"):
        ids([[1, 2]])


def test_ragged_of_a_column_knows_what_is_given() -> None:
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=9, tokens=9)
    builder.add("tokens", 3, sequence=0, step=0, layer=[0, 1, 2], tokens_dense=9, alive=[2, 5, 0],
                token_ids=[[7, 3], None, []])  # fmt: skip
    ragged = builder.finish(header()).ragged("tokens", "token_ids")
    assert ragged.given.tolist() == [True, False, True]
    assert ragged.lengths.tolist() == [2, 0, 0]
    assert ragged.row(0).tolist() == [7, 3]


def test_every_column_is_documented() -> None:
    for schema in TABLES.values():
        assert schema.doc
        assert set(schema.key) <= {column.name for column in schema.columns}
        for column in schema.columns:
            assert column.doc, (schema.name, column.name)


def test_rows_that_rise_are_told_from_others() -> None:
    def table(*rows: tuple[int, int]) -> pa.Table:
        step, layer = zip(*rows, strict=True)
        return pa.table({"step": pa.array(step, pa.int32()), "layer": pa.array(layer, pa.int32())})

    key = ("step", "layer")
    assert rises(table((0, 0), (0, 1), (1, 0)), key)
    assert rises(table((3, 3)), key)
    for rows in (
        [(0, 0), (0, 0)],
        [(0, 1), (0, 0)],
        [(1, 0), (0, 1)],
        [(0, 0), (0, 2), (0, 1), (1, 0)],
    ):
        assert not rises(table(*rows), key)
    words = pa.table({"operator": ["a", "b"]})
    assert not rises(words, ("operator",))  # not known: words are sorted by Arrow
