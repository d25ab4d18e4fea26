"""The README's table of methods, made from the registry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from reports.catalog import PARITY, entries
from reports.listing import Entry, by_family
from reports.marked import marked, write_marked

RENEW = "make methods"
"""The command that brings the table up to date."""

MARKS = ("<!-- methods -->\n", "<!-- end of methods -->\n")
"""Lines around the table in the README."""

_COLUMNS = ("method", "what it does", "trace", "checked", "paper")


def markdown_table() -> str:
    """Return how many methods and systems there are, and a folded table for each family."""
    methods, systems = entries("methods"), entries("systems")
    checked = Counter(entry["parity"] for entry in methods)
    authors, hand, description = (checked[words] for words in PARITY.values())
    own = sum(system["how"] == "own rule" for system in systems)
    return (
        f"{len(methods)} methods: {authors} give their authors' outputs, {hand} are checked by "
        f"hand, {description} are made from a description.\nThey carry {len(systems)} "
        f"published systems, {own} by their own rule and {len(systems) - own} by a "
        "substitute criterion,\nbecause the "
        "paper trains something: `prunesim list systems` says which.\n\n"
        + "".join(_family(name, group) for name, group in by_family(methods).items())
    )


def table_in(text: str) -> str:
    """Return the table that stands between the marks of a text.

    Raises:
        InputError: the text has no marks.
    """
    return marked(text, MARKS)


def write_table(readme: Path) -> None:
    """Replace the table between the marks of a file.

    Raises:
        InputError: the file has no marks.
    """
    write_marked(readme, MARKS, markdown_table())


def _family(name: str, group: list[Entry]) -> str:
    head = f"<details><summary><b>{name}</b>: {len(group)}</summary>\n\n"
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_row, group)]
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n</details>\n\n"


def _row(entry: Entry) -> list[str]:
    cells = [entry[key] for key in ("description", "trace_kind", "parity", "paper")]
    return [f"`{entry['name']}`", *(cell.replace("|", "\\|") for cell in cells)]
