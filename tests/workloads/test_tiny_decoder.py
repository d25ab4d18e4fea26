"""The tiny decoder: its files, and that it has learnt what its card says."""

from __future__ import annotations

import json
import math

import pytest

from workloads.tiny.corpus import bigram_nats, held_out_nats
from workloads.tiny.train_decoder import CONTEXT, FOLDER

pytestmark = pytest.mark.model
FACTS = json.loads((FOLDER / "training.json").read_text())
HELD_OUT = (FOLDER / "held_out.txt").read_bytes()


def test_held_out_loss_is_the_one_on_the_card() -> None:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(FOLDER).float().eval()
    windows = 8
    nats = held_out_nats(model, HELD_OUT[: windows * CONTEXT], CONTEXT)
    assert nats == pytest.approx(FACTS["held_out_nats_8_windows"], abs=1e-3)


def test_it_has_learnt_more_than_a_bigram_model() -> None:
    assert FACTS["held_out_nats"] < FACTS["bigram_nats"] - 1.0


def test_bigram_loss_of_a_text_worked_by_hand() -> None:
    # after "a" came "b" twice of 2, with one added to all 256 counts: 3 of 258; after "b", "a" once
    expected = -(math.log(3 / 258) + math.log(2 / 257)) / 2
    assert bigram_nats(b"abab", b"aba") == pytest.approx(expected)


def test_files_are_small_and_text_is_whole_windows() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size < 20e6
    assert len(HELD_OUT) == FACTS["held_out_bytes"] == 64 * CONTEXT
