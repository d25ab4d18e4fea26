"""Lists of methods and systems: every fact for programs, readable lines for people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algos import METHODS
from algos.systems import read_systems
from reports import method_table
from reports.catalog import PARITY, entries
from reports.cli import app
from reports.listing import WIDE, by_family, how_carried, listing, short_paper
from workloads.errors import InputError

TEXT = f"above\n{method_table.MARKS[0]}old\n{method_table.MARKS[1]}below\n"
FACTS = {
    *("name", "description", "family", "signal", "granularity", "trace_kind", "training", "paper"),
    *("parity", "workloads", "fields"),
}


def shown(what: str, columns: int) -> list[str]:
    """Return the lines that a terminal of so many columns shows, without colours."""
    result = CliRunner().invoke(
        app, ["list", what], env={"FORCE_COLOR": "1", "COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.output
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in result.stdout.splitlines()]


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_methods_as_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["list", "methods", "--json"]).stdout)
    assert [entry["name"] for entry in found] == [*METHODS]
    for entry in found:
        method = METHODS[entry["name"]]
        assert set(entry) == FACTS
        assert entry["parity"] == PARITY[method.parity]
        assert entry["trace_kind"] == method.trace_kind
        assert entry["workloads"] == [*method.workloads]
        assert entry["fields"].keys() == method.model_fields.keys()
        assert entry["description"]


def test_systems_as_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["list", "systems", "--json"]).stdout)
    assert [entry["id"] for entry in found] == [system.id for system in read_systems()]
    first = found[0]
    assert first["name"] == "SpAtten"
    assert first["method"] == "spatten"
    assert first["also"] == ["spatten-llm"]
    assert first["trace"] == ["token mask", "head mask", "KV set, evict", "precision"]
    assert first["parity"] == "hand-checked"


@pytest.mark.parametrize("columns", [80, 120, WIDE, 200])
@pytest.mark.parametrize("what", ["methods", "systems"])
def test_lines_fit_and_no_word_is_cut(what: str, columns: int) -> None:
    lines = shown(what, columns)
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    for entry in entries(what):
        key = {entry["name"]} if what == "methods" else {entry["id"], entry["method"]}
        assert {word for word in key if not {word, f"{word},"} & words} == set()
        facts = [entry["signal"], entry["training"]] if what == "methods" else [how_carried(entry)]
        assert {word for fact in facts for word in fact.split()} <= words


def test_columns_of_a_wide_terminal() -> None:
    head = "name family signal granularity trace kind training paper parity"
    assert " ".join(shown("methods", WIDE)[0].split()) == head
    assert " ".join(shown("systems", WIDE)[0].split()) == "id system tier family carried by how"


def test_families_stand_together() -> None:
    for width in (80, WIDE):
        families = [row[1] for row in listing("methods", entries("methods"), width).rows]
        assert families == [f for f, group in by_family(entries("methods")).items() for _ in group]


def test_a_system_says_how_it_is_carried() -> None:
    found = {entry["id"]: entry for entry in entries("systems")}
    assert how_carried(found["S031"]) == "own rule"
    assert how_carried(found["S053"]).startswith("own rule: hidden states")
    assert how_carried(found["S091"]).startswith("substitute: SpAtten's column score of one layer")
    rows = {row[0]: row for row in listing("systems", [*found.values()], WIDE).rows}
    assert rows["S069"][4] == "aim, aim-merge"


@pytest.mark.parametrize(
    ("paper", "short"),
    [
        ("Wang et al., HPCA 2021, arXiv:2012.09852", "Wang, arXiv:2012.09852"),
        ("Kim et al., KDD 2022, arXiv:2107.00910; Wang et al., HPCA 2021", "Kim, arXiv:2107.00910"),
        ("Jo and Shin, arXiv 2407.20485", "Jo, arXiv:2407.20485"),
        ("Liu et al. 2025, arXiv:2510.05528", "Liu, arXiv:2510.05528"),
        ("CVPR 2026, arXiv:2507.20630", "arXiv:2507.20630"),
        ("arXiv:2508.06084", "arXiv:2508.06084"),
        ("Luo et al., 2025, TIM and TIMRUN", "Luo 2025"),
        ("NVIDIA kvpress; after Zhang et al., NeurIPS 2023, arXiv:2306.14048", "NVIDIA kvpress"),
        ("UNCURL, S074", "UNCURL, S074"),
        ("none", "none"),
    ],
)
def test_short_paper(paper: str, short: str) -> None:
    assert short_paper(paper) == short


def test_readme_shows_the_methods(root: Path) -> None:
    shown_there = method_table.table_in((root / "README.md").read_text("utf-8"))
    assert shown_there == method_table.markdown_table(), f"renew it: `{method_table.RENEW}`"


def test_markdown_table() -> None:
    table = method_table.markdown_table()
    assert table.count("\n| `") == len(METHODS)
    assert (
        table.count("<details>") == table.count("</details>") == len(by_family(entries("methods")))
    )
    assert f"carry {len(read_systems())} published systems, 57 by their own rule and 65" in table


def test_a_bar_in_a_cell_is_no_border() -> None:
    entry = {"name": "x", "description": "|w|", "trace_kind": "y", "parity": "z", "paper": "none"}
    assert method_table._row(entry)[1] == "\\|w\\|"


def test_write_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    result = CliRunner().invoke(app, ["list", "methods", "--readme", str(readme)])
    assert result.exit_code == 0, result.output
    text = readme.read_text("utf-8")
    assert method_table.table_in(text) == method_table.markdown_table()
    assert text.startswith("above\n")
    assert text.endswith("below\n")


def test_table_is_not_written_where_it_has_no_place(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(InputError, match=r"^the text must hold <!-- methods --> and <!-- end of"):
        method_table.write_table(readme)
    assert readme.read_text() == "no marks"
    readme.write_text(TEXT)
    sentence = "--readme must stand with methods, not with systems"
    assert sentence in said("list", "systems", "--readme", str(readme))
    assert readme.read_text() == TEXT
