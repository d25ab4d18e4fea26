"""Where sparsity begins to pay: by hand, from rows, from a function, and drawn."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.figures.style import svg
from reports.gpu import break_even_command, measured
from reports.gpu.break_even import Curve, break_even, curve_of, curves, told
from reports.gpu.break_even_figure import draw_break_even
from workloads.errors import InputError

ABOUT = {
    **{"kernel": "halved", "shape": "llama", "control": "dense-prefill"},
    **{"source": "modelled:h100", "sparsity": "share of keys left out"},
}


@pytest.mark.parametrize(
    ("times", "share"),
    [
        ([140, 105, 70, 35], 0.25 + 0.25 * 5 / 35),
        ([90, 80, 70, 60], 0.0),  # faster from the start
        ([140, 130, 120, 110], None),
        ([140, 100, 70, 35], 0.25),  # equal is not faster, just beyond it is
        ([140, 90, 110, 35], 0.5 + 0.25 * 10 / 75),  # from there on, not once
        ([90, 80, 70, 120], None),
    ],
)
def test_break_even(times: list[float], share: float | None) -> None:
    found = break_even([0.0, 0.25, 0.5, 0.75], times, 100.0)
    assert found == (share if share is None else pytest.approx(share))


def test_curve_of_a_function() -> None:
    curve = curve_of(lambda share: 200.0 * (1 - share) + 20, 100.0, **ABOUT)
    assert curve.break_even == pytest.approx(0.6)  # 200 x 0.4 + 20 = 100
    assert curve.sentence == (
        "halved at llama (modelled:h100) is faster than dense-prefill (100 ns) from 60 % on "
        "left out"
    )
    assert told(curve)["break_even_share"] == curve.break_even
    slow = curve_of(lambda share: 200.0, 100.0, **ABOUT)
    assert slow.sentence.endswith(
        "is not faster than dense-prefill (100 ns) up to 200 ns at 95 % left out"
    )
    fast = curve_of(lambda share: 50.0, 100.0, **ABOUT)
    assert fast.sentence.endswith("at every share from 0% on")


def test_curves_of_rows(rows: list[dict[str, Any]]) -> None:
    found = curves(rows)
    assert len(found) == 1
    assert found[0].source == "measured:h100"
    assert (found[0].control, found[0].control_ns) == ("torch SDPA", 95_000)  # the faster one
    assert found[0].shares == (0.0, 0.25, 0.5, 0.75)
    assert found[0].break_even == pytest.approx(1 - 95 / 140)
    own = curves([row for row in rows if not row["beside"]])
    assert (own[0].control, own[0].control_ns) == ("dense-prefill", 100_000)
    assert curves([row for row in rows if row["control"]]) == []  # no control was measured
    failed = [{**row, "status": "failed"} for row in rows]
    assert curves(failed) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "h100"}, "curve source must be measured: or modelled:, not 'h100'"),
        ({"shares": (0.5, 0.25)}, "must have rising shares"),
        ({"shares": (0.5,)}, "must have rising shares"),
        ({"times_ns": (1.0, 0.0)}, "must have times above 0"),
    ],
)
def test_what_is_no_curve(change: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"shares": (0.0, 0.5), "times_ns": (2.0, 1.0), "control_ns": 1.5}
    with pytest.raises(InputError, match=re.escape(said)):
        Curve(**{**ABOUT, **good, **change})


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_figure_says_what_its_times_are(count: int, rows: list[dict[str, Any]]) -> None:
    modelled = curve_of(lambda share: 200.0 * (1 - share) + 20, 100.0, **ABOUT)
    drawn = [*curves(rows), modelled, modelled][:count]
    figure = draw_break_even(drawn)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == count
    for axes, curve in zip(panels, drawn, strict=True):
        assert axes.get_ylabel() == f"time ({curve.source})"
        texts = [text.get_text() for text in axes.texts]
        assert any("faster from" in text for text in texts)
        assert f"{curve.control}, nothing left out" in texts
    assert svg(figure) == svg(draw_break_even(drawn))
    with pytest.raises(InputError, match="must have a curve"):
        draw_break_even([])


@pytest.fixture
def own_data(tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "gpu"
    folder.mkdir()
    (folder / "h100.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(measured, "GPU", folder)
    monkeypatch.setattr(break_even_command, "KERNELS", ["dense-prefill", "halved"])
    monkeypatch.setattr(break_even_command, "modelled_curves", lambda *_: [])
    return folder


def test_command(own_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    result = CliRunner().invoke(app, ["kernels", "break-even", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "halved at llama (measured:h100) is faster than torch SDPA" in result.stdout
    assert out.read_bytes().startswith(b"<?xml")
    found = json.loads(CliRunner().invoke(app, ["kernels", "break-even", "--json"]).stdout)
    assert found[0]["break_even_share"] == pytest.approx(1 - 95 / 140)


def test_what_was_not_measured_is_modelled(own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        curve_of(lambda share: 50.0, 100.0, **{**ABOUT, "shape": shape})
        for shape in ("llama", "bert")
    ]
    monkeypatch.setattr(break_even_command, "modelled_curves", lambda *_: made)
    found = break_even_command.run_break_even([], "h100", None)
    assert [(curve.shape, curve.source) for curve in found] == [
        ("llama", "measured:h100"),
        ("bert", "modelled:h100"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "a100"], "must have a sparse kernel with times on a100"),
        (["halve"], "kernel must be one of"),
        (["--out", "x.gif"], "figure must be a file of .svg or .png, not x.gif"),
    ],
)
def test_bad_input(own_data: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["kernels", "break-even", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("prunesim: ")
    assert said in result.stderr
