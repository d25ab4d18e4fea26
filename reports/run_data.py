"""A run as reports see it: result rows, long tables and run.json. Nothing is simulated here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sim.result import TABLE_COLUMNS
from workloads.errors import InputError

BASELINE = "dense"  # the trace without pruning
CONTROL = "random"  # the same budget without judgement
PLAIN_MACHINE = "dense"  # the control machine


@dataclass(frozen=True)
class RunData:
    """Rows and long tables of one run folder. A result is named by (method, machine)."""

    rows: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    info: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def methods(self) -> list[str]:
        """Methods of the run: unpruned first, the control next, what is studied last."""
        names = list(dict.fromkeys(self.rows["method"]))
        return sorted(names, key=lambda name: (name != BASELINE, name != CONTROL))

    @cached_property
    def machines(self) -> list[str]:
        """Machines of the run, the studied one first."""
        names = list(dict.fromkeys(self.rows["machine"]))
        return sorted(names, key=lambda name: name != self.machine)

    @cached_property
    def method(self) -> str:
        """The method that is studied."""
        wanted = self.info.get("method")
        return wanted if wanted in self.methods else self.methods[-1]

    @cached_property
    def machine(self) -> str:
        """The machine that is studied."""
        names = list(dict.fromkeys(self.rows["machine"]))
        wanted = self.info.get("machine")
        others = [name for name in names if name != PLAIN_MACHINE]
        return wanted if wanted in names else (others or names)[0]

    @property
    def compared(self) -> list[str]:
        """The unpruned trace (where there is one) and the studied one."""
        return list(dict.fromkeys([m for m in (BASELINE,) if m in self.methods] + [self.method]))

    @property
    def has_baseline(self) -> bool:
        return BASELINE in self.methods and self.method != BASELINE

    def row(self, method: str, machine: str) -> pd.Series | None:
        """Return the flat row of a result, or None when it was not simulated."""
        found = self.rows[(self.rows["method"] == method) & (self.rows["machine"] == machine)]
        return None if found.empty else found.iloc[0]

    def table(self, name: str, method: str, machine: str) -> pd.DataFrame:
        """Return the rows of a long table that belong to one result."""
        table = self.tables[name]
        chosen = table[(table["method"] == method) & (table["machine"] == machine)]
        return chosen.drop(columns=["method", "machine"]).reset_index(drop=True)

    @cached_property
    def accuracies(self) -> pd.DataFrame:
        """Return accuracies, methods down and names across; empty where none was measured."""
        columns = [name for name in self.rows.columns if name.startswith("accuracy_")]
        values = self.rows.groupby("method", sort=False)[columns].first()
        return values.reindex(self.methods).dropna(axis=1, how="all").dropna(how="all")


def read_run(folder: Path) -> RunData:
    """Read a run folder.

    Raises:
        InputError: not a run folder, or a file of it is missing or broken.
    """
    info = read_info(folder)
    if info is None:
        raise InputError(f"{folder} must be a run folder with a run.json, there is none")
    rows = _read_table(folder / "results.parquet")
    if rows.empty:
        raise InputError(f"{folder / 'results.parquet'} must hold a result, it is empty")
    tables = {name: _read_table(folder / f"{name}.parquet") for name in TABLE_COLUMNS}
    return RunData(rows, tables, info)


def read_info(folder: Path) -> dict[str, Any] | None:
    """Return run.json when the folder is one of ours, else None."""
    try:
        info = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) and "prunesim" in info else None


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path.parent} must hold {path.name}, it does not")
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} must be a complete Parquet file: {reason}") from error
