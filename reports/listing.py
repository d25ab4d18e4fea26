"""What `prunesim list` shows: a column for each fact, or fewer columns on a narrow terminal."""

from __future__ import annotations

import re
from typing import Any

from reports.summary import TextTable

WIDE = 160  # characters from which every fact has a column of its own
_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")
_VENUE = re.compile(r"[A-Z]+ \d{4}$")  # such as CVPR 2026: the authors are not stated
_OTHERS = re.compile(r"( et al\.| and .*)?( \d{4})?$")

Entry = dict[str, Any]


def listing(what: str, entries: list[Entry], width: int) -> TextTable:
    """Return the table of a kind of things, for lines of `width` characters."""
    if what == "methods":
        return _methods(entries) if width >= WIDE else _narrow_methods(entries)
    if what == "systems":
        return _systems(entries) if width >= WIDE else _narrow_systems(entries)
    if what == "blocks":
        from reports.blocks import COLUMNS, NUMERIC, table_rows

        return TextTable([*COLUMNS], table_rows(entries), [*NUMERIC])
    if what == "kernels":
        from reports.gpu.listing import COLUMNS as KERNEL_COLUMNS
        from reports.gpu.listing import table_rows as kernel_rows

        return _table([*KERNEL_COLUMNS], kernel_rows(entries))
    return _table(["name", "description"], [[e["name"], e["description"]] for e in entries])


def by_family(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Return family -> entries, families in the order of their first entry."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry["family"], []).append(entry)
    return groups


def short_paper(paper: str) -> str:
    """Return first author and arXiv number, or the year where there is no number.

    Of several sources, the first.
    """
    source = paper.partition(";")[0]
    author, _, rest = source.partition(", ")
    number, year = _ARXIV.search(source), re.search(r"\b\d{4}\b", rest)
    if number is None:
        return f"{_OTHERS.sub('', author)} {year[0]}" if year else source
    known = not (_ARXIV.match(author) or _VENUE.match(author))
    return f"{_OTHERS.sub('', author)}, arXiv:{number[1]}" if known else f"arXiv:{number[1]}"


def how_carried(entry: Entry) -> str:
    """Return how a method stands for a system: by its own rule, or by which substitute."""
    start = entry["how"].removesuffix(" criterion")
    return f"{start}: {entry['criterion']}" if entry["criterion"] else start


def _methods(entries: list[Entry]) -> TextTable:
    columns = [
        "name",
        "family",
        "signal",
        "granularity",
        "trace_kind",
        "training",
        "paper",
        "parity",
    ]
    rows = [
        [short_paper(entry[name]) if name == "paper" else entry[name] for name in columns]
        for group in by_family(entries).values()
        for entry in group
    ]
    return _table([name.replace("_", " ") for name in columns], rows)


def _narrow_methods(entries: list[Entry]) -> TextTable:
    rows = []
    for family, group in by_family(entries).items():
        for entry in group:
            facts = [
                entry["signal"],
                f"{entry['granularity']} -> {entry['trace_kind']}",
                f"{short_paper(entry['paper'])}; {entry['parity']}",
            ]
            if entry["training"] != "none":
                facts.append(f"training: {entry['training']}")
            rows.append([entry["name"], family, "\n".join(facts)])
    names = ["name", "family", "signal, granularity -> trace kind, paper, parity, training"]
    return _table(names, rows)


def _systems(entries: list[Entry]) -> TextTable:
    rows = [
        [e["id"], e["name"], e["tier"], e["family"], _carriers(e), how_carried(e)] for e in entries
    ]
    return _table(["id", "system", "tier", "family", "carried by", "how"], rows)


def _narrow_systems(entries: list[Entry]) -> TextTable:
    rows = [
        [
            e["id"],
            e["tier"],
            f"{e['name']}\n{e['family'].replace('/', ' / ')}",
            f"{_carriers(e)}\n{how_carried(e)}",
        ]
        for e in entries
    ]
    return _table(["id", "tier", "system, family", "carried by, how"], rows)


def _carriers(entry: Entry) -> str:
    return ", ".join([entry["method"], *entry["also"]])


def _table(columns: list[str], rows: list[list[str]]) -> TextTable:
    return TextTable(columns, rows, [False] * len(columns))
