"""Figures draw what rows say, for ordinary runs and for the edges."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reports.figures import FIGURES, load
from reports.figures.style import NothingToDraw, lighter, png, state_colours, svg, text_on
from reports.run_data import RunData, read_run
from sim.result import Result

Make = Callable[..., Any]


@pytest.fixture
def run(run_folder: Path) -> RunData:
    return read_run(run_folder)


@pytest.mark.parametrize("name", FIGURES)
def test_draws_and_says_one_sentence(name: str, run: RunData) -> None:
    module = load(name)
    assert len(png(module.draw(run))) > 5_000
    text = module.takeaway(run)
    assert text.endswith(".")
    assert "nan" not in text
    assert module.TITLE
    assert module.CAPTION


@pytest.mark.parametrize("name", FIGURES)
def test_same_rows_give_the_same_bytes(name: str, run: RunData) -> None:
    first, second = (svg(load(name).draw(run)) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "results",
    [
        pytest.param([("spatten", "spatten", {"layers": 1})], id="one layer, one method"),
        pytest.param([("spatten", "spatten", {"lsb": False})], id="no LSB bytes"),
        pytest.param([("dense", "dense", {})], id="only the control"),
        pytest.param([("dense", "spatten", {}), ("spatten", "spatten", {"layers": 1})], id="mixed"),
    ],
)
def test_edges(
    name: str,
    results: list[tuple[str, str, dict[str, Any]]],
    make_result: Make,
    make_run: Make,
    tmp_path: Path,
) -> None:
    made = [make_result(method, machine, **more) for method, machine, more in results]
    folder = make_run(tmp_path / "run", made, method=results[-1][0], machine=results[-1][1])
    run = read_run(folder)
    module = load(name)
    with suppress(NothingToDraw):
        assert png(module.draw(run))
    assert module.takeaway(run).endswith(".")


def test_no_accuracy_is_said_not_drawn(
    fake_results: list[Result], make_run: Make, tmp_path: Path
) -> None:
    for result in fake_results:
        for name in [name for name in result.row if name.startswith("accuracy_")]:
            del result.row[name]
    run = read_run(make_run(tmp_path / "run", fake_results))
    with pytest.raises(NothingToDraw, match="no accuracy was measured"):
        load("accuracy").draw(run)


def test_a_state_has_one_colour_everywhere() -> None:
    few, many = (
        state_colours(["busy", "wait upstream"]),
        state_colours(["idle", "wait upstream", "wait for DRAM", "busy", "something new"]),
    )
    assert few["wait upstream"] == many["wait upstream"]
    assert len(set(many.values())) == len(many)


def test_tints_and_text_can_be_read() -> None:
    assert lighter("#000000", 0.5) == "#808080"
    assert text_on("#332288") == "white"
    assert text_on("#DDCC77") != "white"
