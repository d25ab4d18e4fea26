"""Two results of a kind beside one another: what a comparison is, and its page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports import words
from reports.html import Picture, fill
from reports.summary import Card, TextTable, flatten

_TEMPLATE = "compare.html.j2"


@dataclass(frozen=True)
class Section:
    """A table of the page."""

    name: str
    title: str
    table: TextTable
    caption: str = ""
    empty: str = ""
    """What stands in its place if it has no rows."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two folders, for the page, the shell and programs."""

    folders: tuple[Path, Path]
    kind: str
    headline: str
    cards: list[Card]
    sections: list[Section]
    differences: Mapping[str, Any]
    """Plain data: all that differs."""
    pictures: list[Picture] = field(default_factory=list)
    inputs_differ: list[str] = field(default_factory=list)
    """What differs in the work that was done: amounts of A and B are then of different things."""

    def write(self, out: Path) -> None:
        """Write the page."""
        page = fill(
            _TEMPLATE,
            title=f"{self.folders[0].name} and {self.folders[1].name}",
            kind=self.kind,
            folders=[str(folder) for folder in self.folders],
            headline=self.headline,
            warning=self._warning(),
            cards=self.cards,
            sections=self.sections,
            pictures=self.pictures,
            command=shlex.join(["prunesim", "report", *map(str, self.folders), "--out", str(out)]),
        )
        out.write_text(page, encoding="utf-8")

    def plain(self) -> dict[str, Any]:
        """Return all that differs as plain data."""
        a, b = map(str, self.folders)
        inputs = {"inputs_differ": self.inputs_differ}
        return {"kind": self.kind, "a": a, "b": b, **inputs, **self.differences}

    def lines(self) -> list[str]:
        """Return what the shell shows."""
        return [self.headline, *filter(None, [self._warning()])]

    def _warning(self) -> str:
        if not self.inputs_differ:
            return ""
        return (
            f"A and B did not run the same inputs, {words.join(self.inputs_differ)} "
            f"{'differs' if len(self.inputs_differ) == 1 else 'differ'}: "
            "amounts do not compare directly."
        )


def ratio(a: float, b: float) -> float | None:
    """Return b / a; None where there is none."""
    found = b / a if a and math.isfinite(a) and math.isfinite(b) else None
    return found if found is None or math.isfinite(found) else None


def ratio_text(value: float | None) -> str:
    """Return a ratio with enough digits to see that it is not 1."""
    if value is None:
        return "-"
    return (
        "1"
        if value == 1
        else f"{value:.4f}".rstrip("0")
        if 0.9 < value < 1.1
        else (words.number(value))
    )


def field_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return field, a and b of all that differs between nested plain data; None: not there."""
    one, other = (dict(flatten(dict(side))) for side in (a, b))
    return [
        {"field": name, "a": one.get(name), "b": other.get(name)}
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def difference_table(found: list[dict[str, Any]]) -> TextTable:
    """Return a line a field that differs."""
    lines = [[d["field"], *("-" if d[side] is None else d[side] for side in "ab")] for d in found]
    return TextTable(["field", "A", "B"], lines, [False, False, False])
