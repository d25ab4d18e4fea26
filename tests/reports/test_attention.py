"""The command `prunesim attention`: its values, its figure, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports.attention import MODELS, run_attention
from reports.cli import app
from workloads.attention_structure import LABELS
from workloads.errors import InputError


@pytest.mark.model
def test_values_and_figure(tmp_path: Path) -> None:
    out = tmp_path / "heads.svg"
    arguments = ["attention", "--model", "tiny-vit", "--out", str(out), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["model"], result.stderr) == ("tiny-vit", "")
    assert [measure["name"] for measure in found["measures"]] == [
        "class_token",
        "class_on_ink",
        "ink",
        "entropy",
    ]
    for measure in found["measures"]:
        assert measure["label"] == LABELS[measure["name"]]
        assert [len(heads) for heads in measure["values"]] == [8] * 6
        if measure["even"] is not None:
            assert all(0 <= value <= 1 for heads in measure["values"] for value in heads)
    assert found["measures"][0]["even"] == pytest.approx(1 / 101)
    drawn = out.read_bytes()
    assert drawn.startswith(b"<?xml")
    CliRunner().invoke(app, arguments)
    assert out.read_bytes() == drawn


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_table(model: str) -> None:
    result = CliRunner().invoke(app, ["attention", "--model", model])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{model} on ")
    assert "entropy, nats" in result.stdout


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model must be one of tiny-decoder, .*, not 'gpt5'"):
        run_attention("gpt5", None, visible=False)
    wrong = tmp_path / "heads.txt"
    with pytest.raises(InputError, match=r"^figure must be a file of \.svg or \.png, not "):
        run_attention("tiny-vit", wrong, visible=False)
    assert not wrong.exists()
