"""The SpAtten authors' workload file: read and write. `spatten_trace` makes traces of it.

One row is one query of one head of one layer in one generated token (released test bench,
mit-han-lab/spatten). Columns that matter here:

    iteration_id, layer_id, head_id   from 0; surviving heads are renumbered from 0
    embedding_length_D                channels of a head, written as 64.0
    sentence_length_L                 tokens so far, nothing pruned
    key_fetch_num, value_fetch_num    K rows fetched, V rows after local value pruning
    quant_key_bit, quant_value_bit, quant_query_bit    bits; -1: not quantised
    auto_requant_thres, auto_requant_incre             threshold and LSB bits; -1: none
    if_requant                        True: this row needed its LSBs
    if_topk, topk                     tokens kept for what follows; -1: no selection

The last row may be a footer: the path of a configuration in its first cell, the rest empty.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workloads.errors import InputError

IntArray = np.ndarray[Any, np.dtype[np.int64]]

COLUMNS: dict[str, str] = {
    "iteration_id": "int64",
    "layer_id": "int64",
    "head_id": "int64",
    "embedding_length_D": "float64",
    "sentence_length_L": "int64",
    "key_fetch_num": "int64",
    "quant_key_bit": "int64",
    "quant_query_bit": "int64",
    "auto_requant_thres": "float64",
    "if_requant": "bool",
    "auto_requant_incre": "int64",
    "value_fetch_num": "int64",
    "quant_value_bit": "int64",
    "if_accumulate_importance": "bool",
    "if_rescale_previous_importance": "bool",
    "if_topk": "bool",
    "topk": "int64",
}
"""Columns in the order of the released files, and their types."""

_LARGEST = 2**31 - 1
_LARGEST_INDEX = 1023  # of layers and heads: far above any model, small enough to make a grid of
_WIDEST = {"quant_key_bit": 12, "quant_query_bit": 32, "quant_value_bit": 12}
"""No profile takes K or V wider than the datapath; the released files give queries of 16 bits."""
_INTEGER = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True)
class SpattenCsv:
    """A workload file: its rows, columns as in the file, and the text of its footer."""

    rows: pd.DataFrame
    footer: str | None = None

    def iteration(self, number: int) -> SpattenCsv:
        """Return the rows of one iteration.

        Raises:
            InputError: there are none.
        """
        column = self.rows["iteration_id"]
        if not (column == number).any():
            raise InputError(
                f"iteration must be one of the file's {column.min()} to {column.max()}, "
                f"not {number}"
            )
        return SpattenCsv(self.rows[column == number].reset_index(drop=True), self.footer)


def read_csv(path: Path) -> SpattenCsv:
    """Read a workload file of the SpAtten authors.

    Raises:
        InputError: no such file, a missing or unknown column, a row with too few or too many
            fields, a text of the wrong type, a number out of range; named by row (the first
            row below the header is row 1) and column.
    """
    names, records = _records(path)
    footer = None
    if records and _is_footer(records[-1]):
        footer = records.pop()[0]
    if not records:
        raise InputError(f"{path} must hold at least 1 row below the header, it holds 0")
    for number, record in enumerate(records, start=1):
        if len(record) < len(names):
            raise InputError(
                f"{path} row {number}: {names[len(record)]} must be given, "
                f"the row ends after {len(record)} fields"
            )
        if len(record) > len(names):
            raise InputError(
                f"{path} row {number} must have {len(names)} fields, not {len(record)}"
            )
    texts = list(zip(*records, strict=True))
    rows = pd.DataFrame(
        {name: _parse(path, name, column) for name, column in zip(names, texts, strict=True)}
    )
    check_rows(rows, str(path))
    return SpattenCsv(rows, footer)


def write_csv(workload: SpattenCsv, path: Path) -> None:
    """Write a workload file in the authors' form: True and False, 64.0, 0.05 or -1."""
    rows = workload.rows
    columns = [_texts(rows[name].tolist(), COLUMNS[name]) for name in rows.columns.astype(str)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(zip(*columns, strict=True))
    if workload.footer is not None:
        writer.writerow([workload.footer, *[""] * (len(columns) - 1)])
    path.write_text(buffer.getvalue(), "utf-8", newline="\n")


def _records(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            records = [record for record in csv.reader(file) if record]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} must be a readable CSV file: {reason}") from error
    names = records[0] if records else []
    for column in COLUMNS:
        if names.count(column) != 1:
            raise InputError(f"{path} must have 1 column {column!r}, it has {names.count(column)}")
    for found in names:
        if found not in COLUMNS:
            raise InputError(f"{path}: column {found!r} is not one of a SpAtten workload file")
    return names, records[1:]


def _is_footer(record: list[str]) -> bool:
    first, *rest = record
    return first != "" and not _INTEGER.fullmatch(first) and not any(rest)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError
    return value


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError
    return text == "True"


_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int64": (_integer, "an integer"),
    "float64": (_number, "a finite number"),
    "bool": (_truth, "True or False"),
}


def _parse(path: Path, name: str, texts: tuple[str, ...]) -> np.ndarray[Any, Any]:
    convert, what = _PARSERS[COLUMNS[name]]
    values = []
    for text in texts:
        try:
            values.append(convert(text))
        except ValueError:
            row = len(values) + 1
            raise InputError(f"{path} row {row}: {name} must be {what}, not {text!r}") from None
    return np.array(values, COLUMNS[name])


def _texts(values: list[Any], kind: str) -> list[str]:
    if kind == "float64":
        return ["-1" if value == -1 else repr(float(value)) for value in values]
    return [str(value) for value in values]


def check_rows(rows: pd.DataFrame, where: str) -> None:
    """Raise InputError at the first number that no workload can have."""
    get = {name: rows[name].to_numpy() for name in COLUMNS}
    length, keys, topk = get["sentence_length_L"], get["key_fetch_num"], get["topk"]
    dim = get["embedding_length_D"]
    of_layer = rows.groupby(["iteration_id", "layer_id"])["sentence_length_L"]
    longest = of_layer.transform("max").to_numpy()  # a selection concerns the whole layer
    index = f"from 0 to {_LARGEST_INDEX}"
    requirements = [
        ("iteration_id", _within(get["iteration_id"], 0, _LARGEST), f"from 0 to {_LARGEST}"),
        ("layer_id", _within(get["layer_id"], 0, _LARGEST_INDEX), index),
        ("head_id", _within(get["head_id"], 0, _LARGEST_INDEX), index),
        ("embedding_length_D", _within(dim, 1, 65536) & (dim % 1 == 0), "whole, from 1 to 65536"),
        ("sentence_length_L", _within(length, 1, _LARGEST), f"from 1 to {_LARGEST}"),
        ("key_fetch_num", _within(keys, 1, length), "from 1 to sentence_length_L"),
        ("value_fetch_num", _within(get["value_fetch_num"], 1, keys), "from 1 to key_fetch_num"),
        *[
            (name, (get[name] == -1) | _within(get[name], 1, most), f"-1 or from 1 to {most}")
            for name, most in _WIDEST.items()
        ],
        (
            "auto_requant_incre",
            _within(get["auto_requant_incre"], -1, 32),
            "from -1 to 32",
        ),
        ("topk", (topk == -1) | _within(topk, 1, longest), "-1 or from 1 to sentence_length_L"),
        ("topk", ~get["if_topk"] | (topk >= 1), "at least 1 where if_topk is True"),
    ]
    _check_order(rows, where)
    for name, holds, requirement in requirements:
        if not holds.all():
            row = int(np.argmin(holds))
            raise InputError(
                f"{where} row {row + 1}: {name} must be {requirement}, not {get[name][row]}"
            )


def _check_order(rows: pd.DataFrame, where: str) -> None:
    """Raise InputError at the first row that comes before the row above it."""
    same = np.ones(max(len(rows) - 1, 0), np.bool_)  # as far as the columns so far
    first = len(rows)
    for name in ("iteration_id", "layer_id", "head_id"):
        step = np.diff(rows[name].to_numpy())
        back = np.flatnonzero(same & (step < 0))
        if back.size and back[0] < first:
            first, column = int(back[0]), name
        same &= step == 0
    if first < len(rows):
        found = rows[column].to_numpy()
        raise InputError(
            f"{where} row {first + 2}: {column} must be at least {found[first]} as in the row "
            f"before it, not {found[first + 1]}: rows are in order of iteration, layer and head"
        )


def _within(values: Any, low: Any, high: Any) -> Any:
    return (values >= low) & (values <= high)
