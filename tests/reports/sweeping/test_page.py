"""The page of a sweep holds every section and needs no network."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.sweeping import explorer, tables
from reports.sweeping.figures import FIGURES
from reports.sweeping.figures.effects import ticks
from reports.sweeping.page import render, write_figure, write_report
from reports.sweeping.read import read_sweep
from reports.sweeping.rerun import as_toml, point_command
from sim.sweep.space import Space
from workloads.errors import InputError

SECTIONS = (
    *("headline", "key-numbers", "explore", "front", "sensitivity", "inside", "not-run"),
    *("fidelity", "traces", "reproduce", "glossary"),
)


class _Page(HTMLParser):
    """Collects identifiers, everything a browser would fetch, and the scripts by identifier."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.data: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if "id" in known:
            self.ids.append(known["id"] or "")
        self._open = (known.get("id") or "") if tag == "script" else ""
        for name in ("src", "href", "xlink:href"):
            if name in known and not (known[name] or "").startswith("#"):
                self.fetched.append(known[name] or "")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = self.data.get(self._open, "") + data


@pytest.fixture(scope="module")
def page(small_page: Path) -> str:
    return small_page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(page: str) -> _Page:
    parser = _Page()
    parser.feed(page)
    return parser


def test_every_section_is_there_once(parsed: _Page) -> None:
    for name in (*SECTIONS, *(f"figure-{name}" for name in FIGURES)):
        assert parsed.ids.count(name) == 1, name
    assert len(parsed.ids) == len(set(parsed.ids))


def test_nothing_is_fetched(parsed: _Page, page: str) -> None:
    assert parsed.fetched == []
    ours = page.replace(explorer.script(), "")  # BokehJS names addresses that it does not open
    assert len(ours) < len(page)
    names = re.sub(r'xmlns(:\w+)?="[^"]*"|<metadata>.*?</metadata>', "", ours, flags=re.DOTALL)
    assert not re.search(r"https?://|@import|url\((?!#)|<link", names)
    assert "sourceMappingURL" not in page


def test_script_ends_nothing() -> None:
    text = explorer.embeddable('a("</script><!--")\n//# sourceMappingURL=bokeh.min.js.map\n')
    assert text == 'a("<\\/script><\\!--")'
    assert "</script" not in explorer.as_json(["</script>"])


def test_numbers_of_the_explorer(parsed: _Page, small: Path) -> None:
    content = json.loads(parsed.data["sweep-data"])
    latency = content["columns"][0]
    assert (latency["name"], latency["unit"], latency["factor"]) == ("latency_ns", "µs", 1e3)
    values = np.frombuffer(base64.b64decode(latency["values"]["data"]), "<f4")
    assert values[[0, 8]].tolist() == [500_000.0, 62_500.0]
    assert np.isnan(values[[4, 5]]).all()
    lanes = content["axes"][0]
    codes = np.frombuffer(base64.b64decode(lanes["codes"]["data"]), "<u2")
    assert [lanes["values"][code - 1] for code in codes] == [1, 1, 1, 4, 4, 4, 16, 16, 16]
    assert lanes["parts"] == [f" --set value_topk.lanes={n}" for n in (1, 4, 16)]
    assert content["reasons"] == ["lanes must be 3, not 4", "bound: latency is at least 9"]


def test_words(small: Path) -> None:
    data = read_sweep(small)
    assert tables.headline(data) == (
        "small: 9 points over value_topk.lanes and token_keep_ratio, 7 of them ran, 1 failed and "
        "1 left out by their bounds; 1 is on the Pareto front."
    )
    assert tables.constraints_line(data) == (
        "Feasible is area at most 3.00 mm²: 5 of 7 points that ran are."
    )
    assert [point.number for point in tables.best_points(data)] == [8, 8, 8]


def test_reasons_that_differ_in_numbers_are_one(
    make_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    space = {"method": "spatten", "axes": {"seed": [0, 1, 2, 3]}}
    reasons = ["rows must be 4, not 8", {}, "rows must be 4, not 16.5", "no memory"]
    folder = make_sweep(tmp_path / "s", space, lambda number, _: reasons[number])
    found = tables.not_run(read_sweep(folder), "failed")
    assert [(reason.count, reason.text) for reason in found] == [
        (2, "rows must be 4, not 8"),
        (1, "no memory"),
    ]


def test_figures_are_files_too(small: Path, page: str) -> None:
    for name in FIGURES:
        assert (small / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (small / "figures" / f"{name}.svg").is_file()
        assert len(pd.read_csv(small / "figures" / f"{name}.csv"))
        assert f"prunesim report {small} --figure {name}" in page


def test_same_folder_gives_the_same_page(small: Path, page: str) -> None:
    assert write_report(small).read_text(encoding="utf-8") == page


def test_page_without_a_point_that_ran(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {"method": "spatten", "axes": {"seed": [0, 1]}}
    folder = make_sweep(tmp_path / "s", space, lambda number, _: "no memory")
    text = render(read_sweep(folder), [])
    assert "no memory" in text
    assert "<script" not in text


def test_page_without_a_feasible_point(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {"method": "spatten", "axes": {"seed": [0, 1]}}
    space["constraints"] = {"area_mm2": {"max": 0.1}}
    folder = make_sweep(tmp_path / "s", space, lambda number, _: {})
    assert "there is no front" in render(read_sweep(folder), [])


def test_synthetic_is_marked(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {"method": "spatten", "axes": {"seed": [0, 1]}}
    folder = make_sweep(tmp_path / "s", space, lambda number, _: {"synthetic": number == 1})
    text = render(read_sweep(folder), [])
    assert '<span class="badge">synthetic</span>' in text


def test_names_are_escaped(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {"title": "<b>&", "workload": "x/y.trace"}
    space["axes"] = {"</script>": {"set": ["machine.topk_seed"], "values": [0, 1]}}
    folder = make_sweep(tmp_path / "s", space, lambda number, _: {})
    text = render(read_sweep(folder), [])
    assert "<b>&:" not in text
    assert "&lt;b&gt;&amp;:" in text
    assert text.count("</script>") == 4  # data, plots, BokehJS, ours


def test_space_survives_toml(tmp_path: Path) -> None:
    space = Space.of(
        {
            "title": 'a "b" \\ µ',
            "workload": "x.trace",
            "set": {"machine.flow.hold_keys": True, "machine.dram.name": "a b"},
            "axes": {
                "machine": ["spatten", "a3"],
                "machine.clock_hz": {"uniform": [0.5, 2.25], "count": 3},
                "rows": {
                    "set": ["machine.key_buffer.rows"],
                    "log": [1, 1000],
                    "count": 4,
                    "when": {"machine": ["spatten"]},
                },
                "machine.flow.prefetch_keys": {"values": [False, True]},
            },
            "sample": 3,
            "objectives": {"cycles": "max"},
            "constraints": {"area_mm2": {"min": 1e-7, "max": 2}},
        }
    )
    file = tmp_path / "sweep.toml"
    file.write_text(as_toml(space), encoding="utf-8")
    assert Space.read(file) == space


def test_command_of_a_point(small: Path) -> None:
    command = point_command(read_sweep(small), 8)
    assert command.endswith("t.trace --machine spatten --set value_topk.lanes=16")
    assert shlex.split(command)[:2] == ["prunesim", "simulate"]


def test_command_line(small: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["report", str(small), "--json"])
    assert json.loads(done.stdout) == {"report": str(small / "report.html")}
    done = runner.invoke(app, ["report", str(small), "--figure", "energy", "--json"])
    assert json.loads(done.stdout) == {"figure": str(small / "figures" / "energy.svg")}
    for arguments, sentence in (
        ([str(tmp_path)], "there is neither"),
        ([str(small), "--out", "x.html"], "--out must stand with two folders"),
        ([str(small), "--figure", "energi"], "did you mean 'energy'"),
        ([str(small)] * 3, "must be one or two, not 3"),
    ):
        done = runner.invoke(app, ["report", *arguments])
        assert done.exit_code == 2
        assert sentence in done.stderr


def test_ticks_of_effects_do_not_touch() -> None:
    contexts = [512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0]
    assert ticks(contexts, 40, log=True) == (
        [512, 2048, 8192, 32768],
        ["512", "2048", "8192", "32768"],
    )
    assert ticks(contexts, 15, log=True)[1] == ["512", "2048", "32768"]
    assert ticks(contexts, 5, log=True)[1] == ["512", "32768"]
    assert ticks(contexts, 40, log=False)[1] == ["512", "8192", "32768"]
    assert ticks([3.0], 40, log=True) == ([3.0], ["3"])


def test_figure_with_nothing_to_show(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", {"method": "spatten", "axes": {"seed": [0]}}, _no_row)
    with pytest.raises(InputError, match="figure sensitivity must have something to show"):
        write_figure(folder, "sensitivity")


def _no_row(number: int, assignment: object) -> dict[str, float]:
    return {}
