"""The page, its figures and the command."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.console import Phases
from reports.gpu.baselines import command, story
from reports.gpu.baselines.page import FIGURES, Baselines, find
from reports.gpu.baselines.rows import COLUMNS
from tests.reports.sweeping.browser import Browser, chromium
from workloads.errors import InputError


@pytest.fixture
def here(found: Baselines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command show what was found already."""
    monkeypatch.setattr(command, "find", lambda devices, phase: found)


@pytest.fixture(scope="module")
def page(found: Baselines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "find", lambda devices, phase: found)
        path, _ = command.run_baselines(tmp_path_factory.mktemp("baselines"), visible=False)
    return path


def test_tables_and_figures(page: Path) -> None:
    rows = pd.read_csv(page.with_name("rows.csv"))
    assert list(rows) == list(COLUMNS)
    ratios = pd.read_csv(page.with_name("ratios.csv"))
    assert ratios[["machine_ns", "times_dense"]].notna().any().all()
    assert len(pd.read_csv(page.with_name("break_even.csv"))) > 5
    for name in FIGURES:
        for kind in ("png", "svg"):
            assert (page.parent / "figures" / f"{name}.{kind}").stat().st_size > 2000


def test_page_says_what_every_number_is(page: Path) -> None:
    text = page.read_text("utf-8")
    for word in ("Simulated", "Modelled", "Measured", "Published", "Synthetic", "Energy"):
        assert f"<strong>{word}</strong>" in text
    for name in FIGURES:
        assert f'id="figure-{name}"' in text
        assert f"prunesim baselines --figure {name}" in text
    assert "do not fit the 12 GB of TITAN Xp" in text
    assert not re.search(r">(nan|None|&lt;NA&gt;|inf)<", text)
    assert not re.search(r'(src|href)="(http|//)', text)
    assert "broken" not in text, "a promise of a recorded kernel"


@pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1920, False)])
def test_page_in_a_browser(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    async def steps() -> None:
        async with Browser(tmp_path / "profile") as browser:
            await browser.look(width=width, dark=dark)
            await browser.call("Page.navigate", url=page.resolve().as_uri())
            await browser.until("document.readyState === 'complete'")
            assert await browser.value("document.documentElement.scrollWidth") == width
            assert await browser.value("document.querySelectorAll('figure svg').length") == len(
                FIGURES
            )
            assert await browser.faults() == []
            assert browser.fetched == [page.resolve().as_uri()]

    asyncio.run(steps())


def test_what_was_measured_is_told(found: Baselines, monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.gpu.baselines import page as made

    known: list[dict[str, str]] = []
    monkeypatch.setattr(made, "measured_rows", lambda folder: known)
    assert made._measured(found.rows).startswith("no GPU was at hand")
    known.append({"label": "measured:h100"})
    assert made._measured(found.rows).startswith("single kernels, measured:h100, but not all")
    rows = found.rows.assign(kind="measured", machine="measured:h100")
    assert made._measured(rows).startswith("all kernels of a workload, on measured:h100")


def test_sentences_follow_from_ratios() -> None:
    row = {
        **{"workload": "llama-2-7b-1024", "machine": "accllm-u280", "device": "a100"},
        **{"gpu_kind": "modelled", "machine_ns": 2e6, "selection_ns": 0.0},
        **{"pytorch_ns": 20e6, "dense_ns": 8e6, "sparse_ns": 1e6},
        **{"times_pytorch": 10.0, "times_dense": 4.0, "times_sparse": 0.5},
    }
    ratios = pd.DataFrame([row])
    assert story.headline(ratios) == (
        "accllm-u280 is 10.0× faster than PyTorch on an A100, but 4.00× faster than dense "
        "kernels on it and 2.00× slower than kernels of the same sparsity"
    )
    one, shrinks, ahead = story.sentences(ratios, ["a100"])
    assert "takes 2.00 ms, 10.0× faster than PyTorch on an A100 (published)" in one
    assert one.endswith("2.00× slower than sparse kernels there: the ratio shrinks.")
    assert shrinks.startswith("In 1 of 1 pairs of workload and GPU the ratio shrinks")
    assert "In 0 it grows" in shrinks
    assert "the GPU is ahead of the machine in 1 of 1 pairs" in ahead
    grown = pd.DataFrame([{**row, "sparse_ns": 12e6, "times_sparse": 6.0, "selection_ns": 5e6}])
    one, shrinks, ahead = story.sentences(grown, ["a100"])
    assert "on that GPU the sparsity costs more than it saves" in one
    assert "in 1 of them for the launches that select" in shrinks
    assert "in 0 of 1 pairs" in ahead
    missing = pd.DataFrame([{**row, "sparse_ns": float("nan"), "times_sparse": float("nan")}])
    assert "sparse kernels are not timed on an A100" in story.sentences(missing, ["a100"])[0]


def test_one_figure(here: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["baselines", "--out", str(tmp_path), "--figure", "context"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.rglob("*.*")} == {"context.png", "context.svg"}


def test_json(here: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["baselines", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {"page", "sentences", "rows", "ratios"} == set(told)
    assert "NaN" not in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--device", "h20"], "did you mean 'h200'"),
        (["--figure", "contexts"], "did you mean 'context'"),
        (["--out", "/proc/none"], "/proc/none"),
    ],
)
def test_mistakes(given: list[str], said: str, tmp_path: Path) -> None:
    out = [] if "--out" in given else ["--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["baselines", *out, *given])
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_device() -> None:
    with pytest.raises(InputError, match="device must be given at least once"):
        find([], Phases(False))


@pytest.mark.slow
def test_every_workload(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["baselines", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    rows = pd.DataFrame(json.loads(done.stdout)["rows"])
    untimed = rows[rows["latency_ns"].isna() & (rows["kind"] != "published")]
    assert {*untimed["machine"]} <= {"modelled:titan-xp", "flightllm-u280"}
