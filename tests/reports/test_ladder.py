"""The command `prunesim ladder`: what it prints, what it writes, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from typer.testing import CliRunner, Result

from algos.compress import set_weights
from algos.ladder import mean_nats
from algos.packed_model import load_packed
from reports.cli import app
from workloads.models import load_decoder
from workloads.text import held_out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small decoder of bytes with random weights, and a text."""
    folder = tmp_path_factory.mktemp("decoder")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "text.txt").write_text("some text of the user's own, " * 20)
    return folder


def ladder(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ladder", *(str(argument) for argument in arguments)])


def said(*arguments: str | Path) -> str:
    """Return the one sentence of a command that must fail with exit code 2."""
    result = ladder(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("prunesim: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("prunesim: ").strip()


def test_json_and_files(checkpoint: Path, tmp_path: Path) -> None:
    text, out = checkpoint / "text.txt", tmp_path / "out"
    options = ("--windows", "3", "--sinks", "2", "--recent", "6")
    result = ladder("--model", checkpoint, "--text", text, *options, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert (found["windows"], found["tokens"], found["prune"]) == (3, 32, "sparsegpt")
    assert len(found["rungs"]) == 8
    rows = pd.read_csv(out / "ladder.csv")
    steps = ["FP32", "2:4 at random", "2:4", "+W8", "+W4", "+W2", "+A8", "+KV4", "+Λ"]
    assert rows["step"].tolist() == steps
    expected = [rung["perplexity"] for rung in found["rungs"]]
    assert rows.drop(1)["perplexity"].tolist() == pytest.approx(expected)
    assert (out / "ladder.svg").read_bytes().startswith(b"<?xml")
    # the weights on disk are those of step +W2
    loaded = load_decoder(str(checkpoint))
    set_weights(loaded.model, load_packed(out))
    windows = torch.from_numpy(held_out(loaded, text, 3).copy())
    assert mean_nats(loaded, windows) == pytest.approx(found["rungs"][4]["nats_per_token"])


def test_table(checkpoint: Path) -> None:
    text = checkpoint / "text.txt"
    result = ladder("--model", checkpoint, "--text", text, "--prune", "magnitude")
    assert result.exit_code == 0, result.output
    assert "pruned by magnitude, on 16 held-out windows of 32 tokens" in result.stdout
    assert "2:4 at random" in result.stdout


def test_mistakes(checkpoint: Path, tmp_path: Path) -> None:
    own = ("--model", checkpoint, "--text", checkpoint / "text.txt")
    assert said(*own, "--prune", "obd").startswith("Compression prune must be 'sparsegpt', ")
    assert said(*own, "--recent", "0").startswith("SinkWindow recent must be greater than or")
    assert said("--model", checkpoint).startswith("text must be given for ")
    assert said("--model", checkpoint, "--text", tmp_path / "no").endswith(
        "No such file or directory"
    )
    assert said("--model", tmp_path).startswith("model must be a folder of a Hugging Face")
    transformers.BertConfig().save_pretrained(tmp_path)
    assert "must be a decoder of gpt2, llama, opt, not 'bert'" in said("--model", tmp_path)


def test_inputs_that_do_not_fill_groups(checkpoint: Path, tmp_path: Path) -> None:
    config = transformers.GPT2Config(
        vocab_size=256,
        n_embd=48,
        n_layer=1,
        n_head=2,
        n_positions=32,
        bos_token_id=None,
        eos_token_id=None,
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    sentence = said("--model", tmp_path, "--text", checkpoint / "text.txt", "--prune", "magnitude")
    assert sentence == "transformer.h.0.attn.c_attn: inputs must be a multiple of 64, not 48"


@pytest.mark.slow
@pytest.mark.model
def test_the_tiny_decoder() -> None:
    """Each step costs what its kind can cost; judgement beats chance."""
    found = json.loads(ladder("--windows", "4", "--json").stdout)
    nats = {rung["step"]: rung["nats_per_token"] for rung in found["rungs"]}
    assert nats["FP32"] < nats["2:4"] < found["chance"]["nats_per_token"]
    assert nats["+W8"] == pytest.approx(nats["2:4"], abs=0.02)
    assert nats["2:4"] < nats["+W4"] < nats["+W2"]
    assert nats["+A8"] == pytest.approx(nats["+W2"], abs=0.05)
    assert nats["+W2"] < 5.545  # a uniform guess: log 256


def test_tokens_run_in_integers_too(checkpoint: Path) -> None:
    options = ("--windows", "1", "--sinks", "2", "--recent", "6", "--integers", "20", "--json")
    result = ladder("--model", checkpoint, "--text", checkpoint / "text.txt", *options)
    assert result.exit_code == 0, result.output
    both = json.loads(result.stdout)["integers"]
    assert both["tokens"] == 20
    assert both["integer_nats"] == pytest.approx(both["torch_nats"], abs=0.02)


def test_one_token_has_no_loss(checkpoint: Path) -> None:
    sentence = said("--model", checkpoint, "--text", checkpoint / "text.txt", "--integers", "1")
    assert sentence == "integers must be 0 or at least 2 tokens, not 1"
