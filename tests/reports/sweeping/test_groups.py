"""Fronts within groups: points, words, figures, the explorer's numbers, comparisons."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.sweeping import explorer, groups, tables
from reports.sweeping.columns import columns
from reports.sweeping.compare_sweeps import compare_sweeps
from reports.sweeping.export import all_points
from reports.sweeping.figures import front as front_figure
from reports.sweeping.figures.bars import point_names
from reports.sweeping.page import draw_figures, render, write_report
from reports.sweeping.read import in_order, read_sweep
from sim.sweep.space import Space
from sim.sweep.store import Store

Make = Callable[..., Path]
CONTEXT = "workload.context"


def space(contexts: list[int], **more: Any) -> dict[str, Any]:
    axes = {
        "machine.value_topk.lanes": [1, 4, 16],
        CONTEXT: contexts,
        "bits": {"values": [4, 8], "set": ["machine.kv.bits", "machine.key.bits"]},
    }
    return {"title": "grouped", "method": "spatten", "axes": axes, "within": [CONTEXT], **more}


def row(number: int, own: dict[str, Any]) -> dict[str, Any] | str:
    """More context: slower and more energy. More lanes: faster, more energy. 8 bits: only worse.

    Nothing fits at a context of 9,000.
    """
    context, lanes, bits = own[CONTEXT], own["machine.value_topk.lanes"], own["bits"]
    if context == 9000:
        return "it must fit"
    worse = bits / 4
    return {"latency_ns": 1e3 * context / lanes * worse, "energy_pj": context * (9 + lanes) * worse}


@pytest.fixture
def folder(make_sweep: Make, tmp_path: Path) -> Path:
    """Eighteen points of contexts 512, 2048 and 9000, in another order."""
    return make_sweep(tmp_path / "s", space([2048, 9000, 512]), row)


def test_each_group_has_a_front(folder: Path) -> None:
    data = read_sweep(folder)
    assert data.groups == [(512,), (2048,), (9000,)]
    assert data.within == ["context"]
    found = {data.groups[at][0]: rows for at, rows in data.fronts().items()}
    assert list(found) == [512, 2048]
    for context, own in found.items():
        lanes = [data.value(int(str(n)), "machine.value_topk.lanes") for n in own.index]
        assert lanes == [16, 4, 1]  # by latency
        assert {data.value(int(str(n)), "bits") for n in own.index} == {4}
        assert {data.value(int(str(n)), CONTEXT) for n in own.index} == {context}
    assert list(data.on_front.index) == [*found[512].index, *found[2048].index]
    assert sorted(data.shown) == sorted(data.on_front.index)


def test_without_within_the_shortest_context_wins(make_sweep: Make, tmp_path: Path) -> None:
    data = read_sweep(make_sweep(tmp_path / "s", space([512, 2048], within=[]), row))
    assert not data.grouped
    assert {data.value(int(n), CONTEXT) for n in data.on_front.index} == {512}
    assert explorer.content(data)["groups"] is None
    assert tables.groups_table(data) is None
    assert "group" not in all_points(data)


def test_one_value_makes_one_front_and_nothing_is_said_of_groups(
    make_sweep: Make, tmp_path: Path
) -> None:
    data = read_sweep(make_sweep(tmp_path / "s", space([512]), row))
    assert not data.grouped
    assert tables.headline(data).endswith("3 are on the Pareto front.")
    assert front_figure.takeaway(data).endswith("are on the front: nothing beats them.")


def test_a_store_made_without_within_is_read(folder: Path) -> None:
    with Store(folder) as store:
        plain = store.about("space")
        del plain["within"]
        store.note("space", plain)
    data = read_sweep(folder)
    assert data.groups == [()]
    assert int(data.front.sum()) == 3


def test_groups_by_what_an_axis_sets(make_sweep: Make, tmp_path: Path) -> None:
    within = ["machine.kv.bits", CONTEXT]
    data = read_sweep(make_sweep(tmp_path / "s", space([2048, 512], within=within), row))
    assert data.groups == [(4, 512), (4, 2048), (8, 512), (8, 2048)]
    assert groups.text(data, 1) == "kv.bits = 4, context = 2048"
    assert groups.short(data, 1) == "4, 2048"
    assert groups.title(data) == "kv.bits and context"
    names, rows = tables.front_table(data, data.on_front.index)
    assert names[:3] == ["point", "kv.bits", "context"]
    assert names[5:] == ["value_topk.lanes", "bits"]  # the axis of the context stands before
    assert [cell.text for cell in rows[0][1:3]] == ["4", "512"]


def test_points_that_figures_show_are_of_every_group(make_sweep: Make, tmp_path: Path) -> None:
    few = read_sweep(make_sweep(tmp_path / "few", space(list(range(1, 6))), row))
    many = read_sweep(make_sweep(tmp_path / "many", space(list(range(1, 31))), row))
    assert few.group[few.shown].value_counts().tolist() == [3, 3, 2, 2, 2]
    assert list(few.group[few.shown]) == sorted(few.group[few.shown])
    assert many.group[many.shown].tolist() == [0, 3, 5, 8, 11, 13, 16, 18, 21, 24, 26, 29]
    assert tables.shown_line(many) == (
        "Of 90 points on 30 fronts these 12 are shown below: the knees of an even spread of the "
        "fronts."
    )
    assert "on 5 fronts these 12 are shown below: of each in turn" in tables.shown_line(few)
    first = few.shown[0]
    assert point_names(few, [first])[0].startswith(f"#{first} · 1 · ")


def test_near_is_judged_within_a_group(make_sweep: Make, tmp_path: Path) -> None:
    """Of context 100 one point is best in everything; over all points another one is nearer."""
    values = {1: [(1.0, 8.0), (8.0, 1.0), (4.0, 4.0)], 100: [(90.0, 90.0)] * 2 + [(80.0, 80.0)]}

    def own_row(number: int, own: dict[str, Any]) -> dict[str, Any] | str:
        at = [1, 4, 16].index(own["machine.value_topk.lanes"])
        if own["bits"] == 8:
            return "no"
        latency, energy = values[own[CONTEXT]][at]
        return {"latency_ns": latency, "energy_pj": energy}

    for within, context in ((None, 1), ([CONTEXT], 100)):
        plain = space([1, 100], within=within or [])
        data = read_sweep(make_sweep(tmp_path / str(context), plain, own_row))
        assert [data.value(n, CONTEXT) for n in data.standing_for.values()] == [context]


def test_words(folder: Path) -> None:
    data = read_sweep(folder)
    assert tables.headline(data) == (
        "grouped: 18 points over value_topk.lanes, context and bits, 12 of them ran, 6 failed; "
        "6 are on 2 Pareto fronts, one for each context."
    )
    assert front_figure.takeaway(data).startswith(
        "6 of 12 feasible points are on 2 fronts, one for each context: nothing of the same "
        "context beats them."
    )
    assert [point.title for point in tables.best_points(data)] == [
        "context = 512",
        "context = 2048",
    ]
    assert all("context" not in dict(point.where) for point in tables.best_points(data))
    assert "each context has a front" in tables.best_line(data)
    table = tables.groups_table(data)
    assert table is not None
    assert table.columns[:4] == ["context", "points", "feasible", "on the front"]
    assert [line[:4] for line in table.rows] == [
        ["512", "6", "6", "3"],
        ["2048", "6", "6", "3"],
        ["9000", "6", "0", "0"],
    ]
    assert table.rows[2][4:] == ["-", "-", "-"]
    fastest = data.fronts()[1].index[0]
    assert table.rows[1][4] == f"128.0 (#{fastest})"


def test_lines_are_told_of_only_where_there_are_any(folder: Path, make_sweep: Make) -> None:
    assert "Each line joins" in front_figure.takeaway(read_sweep(folder))
    plain = space([1, 2], within=[CONTEXT, "machine.value_topk.lanes"])
    alone = read_sweep(make_sweep(folder.parent / "alone", plain, row))
    assert "Each line joins" not in front_figure.takeaway(alone)


def test_tables_and_page_say_the_group(folder: Path) -> None:
    data = read_sweep(folder)
    write_report(folder)
    csv = pd.read_csv(folder / "points.csv")
    assert csv["group"].tolist() == [f"context = {n}" for n in csv[f"axis.{CONTEXT}"]]
    assert csv["front"].sum() == 6
    assert set(pd.read_csv(folder / "figures" / "front.csv")["group"]) == {
        "context = 512",
        "context = 2048",
    }
    assert Space.read(folder / "sweep.toml") == data.space
    page = (folder / "report.html").read_text("utf-8")
    assert 'id="groups">Best of each context</h3>' in page
    assert "The fronts, one for each context, 6 points" in page


def test_a_page_with_many_groups_shows_some_of_each_kind(make_sweep: Make, tmp_path: Path) -> None:
    data = read_sweep(make_sweep(tmp_path / "s", space(list(range(1, 61))), row))
    text = render(data, draw_figures(data, ["front"]))
    assert len(tables.best_points(data)) == groups.NAMED
    assert "the knees of 8 of 60 fronts" in text
    assert "100 of them, from each front in turn; all points stand in points.csv" in text
    table, _ = text.split("<figure", 1)
    for context in (1, 30, 60):
        assert f'data-v="{float(context)}">{context}</td>' in table


def _lines(data: Any) -> list[Any]:
    """Return the fronts' lines of the first panel: (colour, x, y)."""
    axes = front_figure.draw(data).axes[0]
    return [(line.get_color(), *line.get_data()) for line in axes.lines]


def test_the_figure_has_a_line_a_front(folder: Path, make_sweep: Make, tmp_path: Path) -> None:
    data = read_sweep(folder)
    lines = _lines(data)
    assert len({colour for colour, *_ in lines}) == len(lines) == 2
    own = data.fronts()[0]
    factor = columns(data)["latency_ns"].factor
    assert np.allclose(lines[0][1] * factor, own["latency_ns"])
    legend = front_figure.draw(data).legends[0]
    assert legend.get_title().get_text() == "front of each context"
    assert [t.get_text() for t in legend.get_texts()] == ["512", "2048", "not on a front"]
    many = read_sweep(make_sweep(tmp_path / "many", space(list(range(1, 31))), row))
    legend = front_figure.draw(many).legends[0]
    assert "8 of 30 named" in legend.get_title().get_text()
    assert len(legend.get_texts()) == 9
    assert len(_lines(many)) == 30


def test_the_figure_of_one_front_has_no_line(make_sweep: Make, tmp_path: Path) -> None:
    assert _lines(read_sweep(make_sweep(tmp_path / "s", space([512]), row))) == []


def test_colours_follow_numbers_and_are_far_apart_else(
    folder: Path, make_sweep: Make, tmp_path: Path
) -> None:
    assert groups.have_order(read_sweep(folder))
    plain = space([512], within=["method"], method=None)
    plain["axes"] = {**plain["axes"], "method": ["spatten", "dense"]}
    data = read_sweep(make_sweep(tmp_path / "m", plain, row))
    assert not groups.have_order(data)
    assert len({groups.colour(data, at) for at in range(2)}) == 2
    both = read_sweep(make_sweep(tmp_path / "b", space([1, 2], within=[CONTEXT, "bits"]), row))
    assert not groups.have_order(both)


def test_values_in_order() -> None:
    assert in_order([3, 1, None, 2, 1]) == [1, 2, 3, None]
    assert in_order(["b", "a", "b"]) == ["b", "a"]
    assert in_order([True, False]) == [True, False]
    assert groups.spread(3, 8) == [0, 1, 2]
    assert groups.spread(14, 8) == [0, 2, 4, 6, 7, 9, 11, 13]


def test_numbers_of_the_explorer(folder: Path) -> None:
    data = read_sweep(folder)
    found = json.loads(explorer.as_json(explorer.content(data)))["groups"]
    assert found["names"] == ["context"]
    assert found["values"] == [[512], [2048], [9000]]
    codes = np.frombuffer(base64.b64decode(found["of"]["data"]), "<u4")
    assert [found["values"][code][0] for code in codes] == list(data.axes[CONTEXT])


def _twice_as_slow(number: int, own: dict[str, Any]) -> dict[str, Any] | str:
    """As `row`, but at a context of 2,048 twice as slow."""
    found = row(number, own)
    if isinstance(found, dict) and own[CONTEXT] == 2048:
        found["latency_ns"] *= 2
    return found


def test_two_sweeps_are_compared_within_groups(make_sweep: Make, tmp_path: Path) -> None:
    a = make_sweep(tmp_path / "a", space([512, 2048, 9000]), row)
    b = make_sweep(tmp_path / "b", space([2048, 512], within=[]), _twice_as_slow)
    found = compare_sweeps(a, b)
    assert found.differences["within"] == [CONTEXT]
    assert len(found.differences["front"]["a"]) == len(found.differences["front"]["b"]) == 6
    # at 512 both are the same; at 2048 A is faster at the same energy
    assert found.differences["front_beaten"]["a"] == []
    assert len(found.differences["front_beaten"]["b"]) == 3
    ratios = {
        (own["within"][CONTEXT], own["objective"]): own["ratio"]
        for own in found.differences["best"]
    }
    assert ratios == {
        (512, "latency_ns"): 1.0,
        (512, "energy_pj"): 1.0,
        (2048, "latency_ns"): 2.0,
        (2048, "energy_pj"): 1.0,
    }
    cards = {card.title: (card.value, card.note) for card in found.cards}
    assert cards["Best latency"] == ("1.41×", "geometric mean of 2 groups")
    assert "compared with those of the same workload.context" in found.pictures[0].caption
    assert found.sections[0].table.columns[:2] == [CONTEXT, "objective"]


def test_bests_of_many_groups_are_not_all_listed(make_sweep: Make, tmp_path: Path) -> None:
    a = make_sweep(tmp_path / "a", space(list(range(1, 31))), row)
    found = compare_sweeps(a, a)
    assert len(found.differences["best"]) == 60
    assert len(found.sections[0].table.rows) == 30
    assert found.sections[0].caption.endswith("The first 30 of 60 lines.")


def test_what_one_sweep_does_not_set_is_said(make_sweep: Make, tmp_path: Path) -> None:
    a = make_sweep(tmp_path / "a", space([512, 2048]), row)
    axes = {"machine.value_topk.lanes": [1, 4]}

    def other_row(number: int, own: dict[str, Any]) -> dict[str, Any]:
        return {"latency_ns": 1.0, "energy_pj": 1.0}

    b = make_sweep(tmp_path / "b", {"method": "spatten", "axes": axes}, other_row)
    found = compare_sweeps(a, b)
    assert found.differences["within"] == []
    assert (
        "Not within workload.context, which only one of the sweeps sets"
        in found.pictures[0].caption
    )
    fixed = {"method": "spatten", "axes": axes, "set": {CONTEXT: 512}}
    c = make_sweep(tmp_path / "c", fixed, other_row)
    found = compare_sweeps(a, c)
    assert [own["within"] for own in found.differences["best"]] == [{CONTEXT: 512}] * 2
