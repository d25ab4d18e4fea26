"""The SpAtten authors' workload file: every file at hand, random files, and bad ones."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.spatten_csv import COLUMNS, SpattenCsv, read_csv, write_csv
from workloads.spatten_trace import from_trace, to_trace
from workloads.synthetic import shape_trace
from workloads.trace import Trace, TraceBuilder, read_trace, write_trace

HEADER = ",".join(COLUMNS)
ROW = {
    "iteration_id": 0, "layer_id": 0, "head_id": 0, "embedding_length_D": 64.0,
    "sentence_length_L": 100, "key_fetch_num": 100, "quant_key_bit": -1, "quant_query_bit": -1,
    "auto_requant_thres": -1.0, "if_requant": False, "auto_requant_incre": -1,
    "value_fetch_num": 100, "quant_value_bit": -1, "if_accumulate_importance": False,
    "if_rescale_previous_importance": False, "if_topk": False, "topk": -1,
}  # fmt: skip

# section D4 of facts/spatten.md: rows, fewest and most keys, mean to 0.1, if_requant, if_topk
D4 = {
    "small": (1, 993, 993, 993.0, 0, 0),
    "summary-gpt2-medium-ptb-per0": (12288, 993, 1024, 1008.5, 0, 0),
    "summary-gpt2-small-wikitext2-per8-step1+dedic": (4608, 993, 1024, 1008.5, 0, 0),
    "summary-gpt2-small-wikitext2-per8": (4608, 102, 993, 278.5, 323, 124),
}


def csv_of(*changes: dict[str, Any], footer: str | None = None) -> SpattenCsv:
    """Return a workload of plain rows with some numbers changed."""
    return SpattenCsv(pd.DataFrame([ROW | change for change in changes]).astype(COLUMNS), footer)


@pytest.fixture(scope="module")
def files(shared_files: Callable[[str], list[Path]]) -> list[Path]:
    return shared_files("traces/spatten/*.csv") + shared_files(
        "oracles/spatten_rtl/workloads/*.csv"
    )


def test_every_file_is_written_as_it_was(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        write_csv(read_csv(path), tmp_path / "again.csv")
        original = path.read_bytes().replace(b"\r\n", b"\n")
        assert (tmp_path / "again.csv").read_bytes() == original, path


def test_every_file_becomes_a_trace_and_comes_back(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        workload = read_csv(path)
        trace = to_trace(workload, path.stem)
        write_trace(trace, tmp_path / "a.trace")
        back = from_trace(read_trace(tmp_path / "a.trace"))
        for name in ("iteration_id", "layer_id", "head_id", "sentence_length_L", "key_fetch_num",
                     "value_fetch_num", "if_requant", "if_topk", "topk"):  # fmt: skip
            assert back.rows[name].tolist() == workload.rows[name].tolist(), (path, name)
        assert_same_tables(to_trace(back, path.stem), trace)


def assert_same_tables(left: Trace, right: Trace) -> None:
    for name, table in left.tables.items():
        assert table.equals(right.tables[name]), name


def test_published_statistics(shared_files: Callable[[str], list[Path]]) -> None:
    for path in shared_files("traces/spatten/*.csv"):
        rows = read_csv(path).rows
        if path.stem in D4:
            count, least, most, mean, requant, topk = D4[path.stem]
            keys = rows["key_fetch_num"]
            assert (len(rows), keys.min(), keys.max()) == (count, least, most)
            assert keys.mean() == pytest.approx(mean, abs=0.051)
            assert (rows["if_requant"].sum(), rows["if_topk"].sum()) == (requant, topk)


def test_large_file_is_fast(tmp_path: Path) -> None:
    grid = [(i, la, h) for i in range(32) for la in range(12) for h in range(12)]
    workload = csv_of(*[{"iteration_id": i, "layer_id": la, "head_id": h} for i, la, h in grid])
    write_csv(workload, tmp_path / "large.csv")
    start = time.process_time()
    trace = to_trace(read_csv(tmp_path / "large.csv"), "large")
    assert time.process_time() - start < 1.0  # 0.15 s alone; the rest is for a busy machine
    assert trace.rows("attention") == 4608


@st.composite
def workloads(draw: st.DrawFn) -> SpattenCsv:
    bits = st.sampled_from([-1, 6, 8, 10, 12])
    rows = []
    for key in sorted(draw(st.sets(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))):
        length = draw(st.integers(1, 2000))
        keys = draw(st.integers(1, length))
        topk = draw(st.just(-1) | st.integers(1, length))
        rows.append(
            dict(zip(COLUMNS, key, strict=False))
            | {
                "embedding_length_D": 64.0,
                "sentence_length_L": length,
                "key_fetch_num": keys,
                "quant_key_bit": draw(bits),
                "quant_query_bit": draw(bits | st.just(16)),
                "auto_requant_thres": draw(st.just(-1.0) | st.floats(0, 1)),
                "if_requant": draw(st.booleans()),
                "auto_requant_incre": draw(st.sampled_from([-1, 4])),
                "value_fetch_num": draw(st.integers(1, keys)),
                "quant_value_bit": draw(bits),
                "if_accumulate_importance": draw(st.booleans()),
                "if_rescale_previous_importance": draw(st.booleans()),
                "if_topk": topk >= 1 and draw(st.booleans()),
                "topk": topk,
            }
        )
    footer = draw(st.none() | st.text("abc/+,\" '.\u00e9", min_size=1))
    return SpattenCsv(pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS), footer)


@given(workloads())
@settings(max_examples=40)
def test_any_workload_survives_writing_and_reading(workload: SpattenCsv) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        write_csv(workload, path)
        again = read_csv(path)
    pd.testing.assert_frame_equal(again.rows, workload.rows, check_exact=True)
    assert again.footer == workload.footer


@given(workloads())
@settings(max_examples=25)
def test_any_workload_keeps_its_counts_as_a_trace(workload: SpattenCsv) -> None:
    trace = to_trace(workload, "any")
    assert trace.array("attention", "keys").sum() == workload.rows["key_fetch_num"].sum()
    assert trace.array("attention", "queries").sum() == len(workload.rows)
    assert_same_tables(to_trace(from_trace(trace), "any"), to_trace(renumbered(workload), "any"))


def renumbered(workload: SpattenCsv) -> SpattenCsv:
    """Return the rows sorted, heads counted from 0, and one selection on a layer's last row."""
    pair = ["iteration_id", "layer_id"]
    flagged = workload.rows[workload.rows["if_topk"]].drop_duplicates(pair, keep="last")
    rows = workload.rows.sort_values([*pair, "head_id"]).reset_index(drop=True)
    rows["head_id"] = rows.groupby(pair).cumcount()
    rows["if_topk"], rows["topk"] = False, -1
    last = ~rows.duplicated(pair, keep="last")
    kept = rows[pair].merge(flagged[[*pair, "topk"]], on=pair, how="left")["topk"].fillna(-1)
    rows.loc[last, "topk"] = kept[last].astype(int)
    rows["if_topk"] = rows["topk"] >= 1
    return SpattenCsv(rows)


def test_columns_keep_the_order_of_the_file(tmp_path: Path) -> None:
    workload = csv_of({})
    reordered = SpattenCsv(workload.rows[list(COLUMNS)[::-1]], None)
    write_csv(reordered, tmp_path / "a.csv")
    assert list(read_csv(tmp_path / "a.csv").rows) == list(COLUMNS)[::-1]


def test_conventions_of_the_trace() -> None:
    trace = to_trace(
        csv_of(
            {"quant_key_bit": 6, "auto_requant_incre": 4, "if_requant": True,
             "value_fetch_num": 20, "quant_value_bit": 6, "quant_query_bit": 16},
            {"head_id": 2, "if_topk": True, "topk": 40},
            footer="configs/a.yml",
        ),
        "two-heads",
    )  # fmt: skip
    heads = trace.tables["attention"].to_pandas()
    assert heads["alive"].tolist() == [True, False, True]
    assert heads["queries"].tolist() == [1, 0, 1]
    assert heads["queries_dense"].tolist() == [1, 1, 1]
    assert heads["keys"].tolist() == [100, 0, 100]
    assert heads["keys_dense"].tolist() == [100, 100, 100]
    assert heads["values"].tolist() == heads["values_fetched"].tolist() == [20, 0, 100]
    assert heads["q_bits"].tolist() == [12, 12, 12]
    assert heads["k_bits"].tolist() == [6, 6, 12]
    assert heads["k_lsb_bits"].tolist() == [4, 4, 0]
    assert heads["recomputed"].tolist() == [1, 0, 0]
    topk = trace.tables["topk"].to_pandas()
    assert topk[["kind", "head", "operations", "n", "k"]].to_numpy().tolist() == [
        ["token", -1, 1, 100, 40],
        ["value", 0, 1, 100, 20],
    ]
    assert trace.header.parameters == {"configuration": "configs/a.yml"}
    assert not trace.header.synthetic
    assert trace.header.accuracy == {}
    assert trace.header.model.hidden == 192
    assert trace.header.model.source == "shape inferred from the file"


def test_wide_set_of_next_token_is_revived() -> None:
    # C5: deep layer keeps 10, the next token starts again from 60; 10 + 1 could be handed on
    trace = to_trace(
        csv_of(
            {"layer_id": 0, "value_fetch_num": 0},
            {"layer_id": 1, "key_fetch_num": 10, "value_fetch_num": 0, "if_topk": True, "topk": 60},
            {"iteration_id": 1, "sentence_length_L": 101, "key_fetch_num": 60,
             "value_fetch_num": 0},
            {"iteration_id": 1, "layer_id": 1, "sentence_length_L": 101, "key_fetch_num": 10,
             "value_fetch_num": 0},
        ),
        "cascade",
    )  # fmt: skip
    assert trace.array("attention", "kv_policy").tolist() == ["full", "full", "revive", "full"]
    assert trace.array("attention", "keys_revived").tolist() == [0, 0, 49, 0]
    assert trace.array("tokens", "revived").tolist() == [0, 0, 49, 0]
    topk = trace.tables["topk"].to_pandas().query("kind == 'token'")
    assert topk[["step", "layer", "n", "k"]].to_numpy().tolist() == [[1, 1, 100, 60]]


def test_full_cache_that_grows_is_not_revived() -> None:
    grown = [{"iteration_id": i, "sentence_length_L": 100 + i, "key_fetch_num": 100 + i}
             for i in range(3)]  # fmt: skip
    trace = to_trace(csv_of(*grown), "dense")
    assert set(trace.array("attention", "kv_policy")) == {"full"}


def test_requant_without_increment_takes_the_released_four_bits() -> None:
    trace = to_trace(csv_of({"quant_key_bit": 8, "if_requant": True}), "oracle")
    assert trace.array("attention", "k_lsb_bits").tolist() == [4]
    assert trace.array("attention", "recomputed").tolist() == [1]


def test_rows_of_one_head_are_its_queries() -> None:
    needs = {"quant_key_bit": 6, "auto_requant_incre": 4}
    workload = csv_of(needs, needs | {"if_requant": True}, needs)
    trace = to_trace(workload, "three")
    assert trace.array("attention", "queries").tolist() == [3]
    assert trace.array("attention", "recomputed").tolist() == [1]
    assert trace.ragged("attention", "recomputed_queries").row(0).tolist() == [1]
    assert from_trace(trace).rows["if_requant"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([{}, {"key_fetch_num": 90, "value_fetch_num": 90}],
         "x row 2: key_fetch_num must be 100 as elsewhere in the head in its iteration, not 90"),
        ([{}, {"head_id": 1, "embedding_length_D": 32.0}],
         "x row 2: embedding_length_D must be 64 as elsewhere in the file, not 32"),
        ([], "x must hold at least 1 row, it holds 0"),
    ],
)  # fmt: skip
def test_rows_that_make_no_trace(changes: list[dict[str, Any]], sentence: str) -> None:
    empty = SpattenCsv(pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS), None)
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        to_trace(csv_of(*changes) if changes else empty, "x")


GOOD = "0,0,0,64.0,10,10,-1,-1,-1,False,-1,10,-1,False,False,False,-1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have 1 column 'iteration_id', it has 0"),
        (HEADER.replace(",topk", ""), "must have 1 column 'topk', it has 0"),
        (HEADER.replace("if_topk", "topk"), "must have 1 column 'if_topk', it has 0"),
        (HEADER + ",topk", "must have 1 column 'topk', it has 2"),
        (HEADER + ",extra", ": column 'extra' is not one of a SpAtten workload file"),
        (f"{HEADER}\n{GOOD}\n0,0,1,64.0,10",
         " row 2: key_fetch_num must be given, the row ends after 5 fields"),
        (f"{HEADER}\n{GOOD},7", " row 1 must have 17 fields, not 18"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('64.0', 'wide')}",
         " row 2: embedding_length_D must be a finite number, not 'wide'"),
        (f"{HEADER}\n{GOOD.replace('64.0', 'nan')}",
         " row 1: embedding_length_D must be a finite number, not 'nan'"),
        (f"{HEADER}\n{GOOD.replace('64.0', '64.5')}",
         " row 1: embedding_length_D must be whole, from 1 to 65536, not 64.5"),
        (f"{HEADER}\n{GOOD.replace('0,10,10', '0,10,10.0')}",
         " row 1: key_fetch_num must be an integer, not '10.0'"),
        (f"{HEADER}\n{GOOD.replace('0,10,10', '0,10,99999999999')}",
         " row 1: key_fetch_num must be an integer, not '99999999999'"),
        (f"{HEADER}\n{GOOD.replace('0,10,10', '0,10,0')}",
         " row 1: key_fetch_num must be from 1 to sentence_length_L, not 0"),
        (f"{HEADER}\n{GOOD.replace('0,10,10', '0,10,11')}",
         " row 1: key_fetch_num must be from 1 to sentence_length_L, not 11"),
        (f"{HEADER}\n{GOOD.replace('-1,10,-1', '-1,11,-1')}",
         " row 1: value_fetch_num must be from 1 to key_fetch_num, not 11"),
        (f"{HEADER}\n{GOOD.replace('-1,10,-1', '-1,0,-1')}",
         " row 1: value_fetch_num must be from 1 to key_fetch_num, not 0"),
        (HEADER, " must hold at least 1 row below the header, it holds 0"),
        (f"{HEADER}\n{GOOD.replace('10,10,-1', '10,10,0')}",
         " row 1: quant_key_bit must be -1 or from 1 to 12, not 0"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('10,10,-1', '10,10,16').replace('0,0,0', '0,0,1')}",
         " row 2: quant_key_bit must be -1 or from 1 to 12, not 16"),
        (f"{HEADER}\n{GOOD.replace('-1,10,-1', '-1,10,13')}",
         " row 1: quant_value_bit must be -1 or from 1 to 12, not 13"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('False', 'no', 1)}",
         " row 2: if_requant must be True or False, not 'no'"),
        (f"{HEADER}\n{GOOD.replace('False,-1', 'True,-1')[::-1].replace('eslaF', 'eurT', 1)[::-1]}",
         " row 1: topk must be at least 1 where if_topk is True, not -1"),
        (f"{HEADER}\n-1{GOOD[1:]}", " row 1: iteration_id must be from 0 to 2147483647, not -1"),
        (f"{HEADER}\n0,5000{GOOD[3:]}", " row 1: layer_id must be from 0 to 1023, not 5000"),
        (f"{HEADER}\n{GOOD}\n0,3{GOOD[3:]}\n0,2{GOOD[3:]}",
         " row 3: layer_id must be at least 3 as in the row before it, not 2: rows are in order of "
         "iteration, layer and head"),
        (f"{HEADER}\n0,1,5{GOOD[5:]}\n1,0,0{GOOD[5:]}\n1,0,2{GOOD[5:]}\n1,0,1{GOOD[5:]}",
         " row 4: head_id must be at least 2 as in the row before it, not 1: rows are in order of "
         "iteration, layer and head"),
        (f"{HEADER}\n{',' * 16}", " row 1: iteration_id must be an integer, not ''"),
        (f"{HEADER}\nconfigs/a.yml{',' * 16}\n{GOOD}",
         " row 1: iteration_id must be an integer, not 'configs/a.yml'"),
    ],
)  # fmt: skip
def test_bad_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} ?{re.escape(sentence)}$"):
        read_csv(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b'"' + b"a" * 200_000])
def test_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="must be a readable CSV file: "):
        read_csv(path)


def test_trace_of_several_inputs_needs_a_choice() -> None:
    trace = shape_trace(SHAPES["deit-small"], 5, sequences=2)
    with pytest.raises(InputError, match="holds 1 sequence, the trace holds 2: choose one"):
        from_trace(trace)
    with pytest.raises(InputError, match=r"^sequence must be one of the trace's 2, not 7$"):
        from_trace(trace, sequence=7)
    rows = from_trace(trace, sequence=1).rows
    assert len(rows) == 12 * 6 * 5


def test_synthetic_decoder_becomes_a_file_and_a_trace_again(tmp_path: Path) -> None:
    trace = shape_trace(
        SHAPES["gpt2-small"], 20, generate=3, token_keep=[1.0] * 6 + [0.5] * 6, value_keep=0.4,
        head_keep=[1.0] * 11 + [0.5], requant_share=0.3, k_bits=6, k_lsb_bits=4,
    )  # fmt: skip
    write_csv(from_trace(trace), tmp_path / "a.csv")
    again = to_trace(read_csv(tmp_path / "a.csv"), "again")
    for name in ("queries", "keys", "values", "k_bits", "k_lsb_bits", "recomputed"):
        old, new = trace.array("attention", name), again.array("attention", name)
        assert np.sort(old[trace.array("attention", "alive")]).tolist() == (
            np.sort(new[again.array("attention", "alive")]).tolist()
        ), name


def test_number_the_file_cannot_hold_is_named() -> None:
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=4, tokens=4)
    builder.add(
        "attention", 1, sequence=0, step=0, layer=0, head=0, kv_head=0, queries_dense=1, queries=1,
        keys_dense=4, keys=0, values=0, values_fetched=0, head_dim=64, q_bits=12, k_bits=12,
        v_bits=12,
    )  # fmt: skip
    trace = builder.finish(shape_trace(SHAPES["deit-small"], 4).header)
    with pytest.raises(InputError, match=r"^workload file row 1: key_fetch_num must be from 1 to"):
        from_trace(trace)
