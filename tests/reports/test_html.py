"""The report holds every section and needs no network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.figures import FIGURES
from reports.html import write_report
from reports.run_data import read_run
from reports.summary import area_table, comparison, headline, second_line
from sim.result import ROW_COLUMNS, Result
from workloads.errors import InputError

Make = Callable[..., Any]
SECTIONS = (
    *("headline", "key-numbers", "comparison", "figures", "accuracy", "layers", "fidelity"),
    *("methods", "constants", "configuration", "glossary", "reproduce"),
)


class _Page(HTMLParser):
    """Collects identifiers and everything a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(value or "")


@pytest.fixture
def page(run_folder: Path) -> str:
    return write_report(run_folder).read_text(encoding="utf-8")


def test_every_section_is_there_once(page: str) -> None:
    parser = _Page()
    parser.feed(page)
    for name in (*SECTIONS, *(f"figure-{name}" for name in FIGURES)):
        assert parser.ids.count(name) == 1, name
    assert len(parser.ids) == len(set(parser.ids))


def test_nothing_is_fetched(page: str) -> None:
    parser = _Page()
    parser.feed(page)
    assert parser.fetched == []
    assert not re.search(r"@import|url\((?!#)|<script|<link", page)


def test_figures_are_files_too(run_folder: Path, page: str) -> None:
    for name in FIGURES:
        assert (run_folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run_folder / "figures" / f"{name}.svg").is_file()


def test_sources_estimates_notes_and_glossary_are_shown(page: str) -> None:
    assert "Horowitz, ISSCC 2014" in page
    assert "estimate" in page
    assert "Attention only: the feed-forward layers are not simulated." in page
    assert "IdealSoftmax" in page
    assert all(name in page for name in ROW_COLUMNS)
    assert "in each array" in page  # what a field means


def test_synthetic_is_marked(fake_results: list[Result], make_run: Make, tmp_path: Path) -> None:
    for result in fake_results:
        result.row["synthetic"] = True
    text = write_report(make_run(tmp_path / "run", fake_results)).read_text(encoding="utf-8")
    assert '<span class="badge">synthetic</span>' in text


def test_same_folder_gives_the_same_page(run_folder: Path, page: str) -> None:
    assert write_report(run_folder).read_text(encoding="utf-8") == page


def test_headline_compares_with_the_unpruned_trace(run_folder: Path) -> None:
    run = read_run(run_folder)
    text = headline(run)
    assert text.startswith("spatten pruning on the spatten machine: 1.52× fewer cycles")
    assert "0.958" in text
    assert "the same cycles" in second_line(run)
    assert sum(comparison(run).emphasis) == 1


def test_headline_without_baseline(make_result: Make, make_run: Make, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run", [make_result("spatten", "spatten")]))
    assert "from DRAM" in headline(run)
    assert second_line(run) == ""


@pytest.mark.parametrize("name", ["results.parquet", "layers.parquet"])
def test_broken_file_is_named(run_folder: Path, name: str) -> None:
    path = run_folder / name
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=name):
        write_report(run_folder)
    path.unlink()
    with pytest.raises(InputError, match=f"must hold {name}"):
        write_report(run_folder)


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a run folder"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"something": "else"}))
    with pytest.raises(InputError, match="must be a run folder"):
        write_report(tmp_path)


def test_areas_are_of_each_machine(run_folder: Path) -> None:
    table = area_table(read_run(run_folder))
    totals = {row[0]: row[2] for row in table.rows if row[1] == "all"}
    assert totals == {"spatten": "2.6", "dense": "2.6"}
    assert sum(row[1] == "multipliers" for row in table.rows) == 2
