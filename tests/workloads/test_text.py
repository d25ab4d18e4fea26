"""Text as token ids: windows, samples, and what a user can get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from workloads.errors import InputError
from workloads.models import LoadedModel, shape_of
from workloads.text import context_of, held_out, library_text, samples


class Words:
    """A tokenizer: one token a word."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}


class Described:
    """A model that is only its configuration."""

    def __init__(self, **changed: int) -> None:
        sizes = {"hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 8}
        self.config = transformers.LlamaConfig(**{"vocab_size": 256} | sizes | changed)


def loaded(tokenizer: Any = None, name: str = "mine", **changed: int) -> LoadedModel:
    model = Described(**changed)
    return LoadedModel(model, tokenizer, shape_of(model.config, name), name)


def test_windows_of_bytes_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(bytes(range(250, 256)) + bytes(range(13)))
    found = held_out(loaded(), path, None)
    assert found.tolist() == [[250, 251, 252, 253, 254, 255, 0, 1], list(range(2, 10))]
    assert held_out(loaded(), path, 1).shape == (1, 8)
    assert held_out(loaded(), path, 9).shape == (2, 8)


def test_a_short_text_is_one_window(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("some words of text")
    assert held_out(loaded(Words()), path, None).tolist() == [[4, 5, 2, 4]]


def test_long_contexts_are_cut() -> None:
    assert context_of(loaded(max_position_embeddings=131072)) == 2048


def test_samples_come_from_many_places_and_follow_their_seed() -> None:
    text = bytes(range(256)) * 20
    found = samples(loaded(), text, 5, 8)
    assert found.shape == (5, 8)
    assert (np.diff(found, axis=1) % 256 == 1).all()
    assert len(set(found[:, 0].tolist())) == 5
    assert np.array_equal(found, samples(loaded(), text, 5, 8))
    assert not np.array_equal(found, samples(loaded(), text, 5, 8, seed=1))
    words = ("word " * 400).encode()
    assert samples(loaded(Words()), words, 3, 8)[:, 1:].tolist() == [[4] * 7] * 3


def test_calibration_text_is_not_held_out() -> None:
    """Modules of the library are on one side or the other."""
    from workloads.tiny.corpus import corpus

    train, held = corpus()
    assert library_text() == train
    assert held[:100_000] not in train


def test_what_a_user_can_get_wrong(tmp_path: Path) -> None:
    path = tmp_path / "text"
    with pytest.raises(
        InputError, match=r"^text must be given for mine, only tiny-decoder and tiny-moe have"
    ):
        held_out(loaded(), None, None)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"^text .* must have at least 2 tokens, not 1$"):
        held_out(loaded(), path, None)
    path.write_bytes(b"caf\xe9 ")
    with pytest.raises(InputError, match=r"^text .* must be UTF-8, byte 3 is not$"):
        held_out(loaded(Words()), path, None)
    with pytest.raises(
        InputError,
        match=r"^model mine must have a tokenizer or a vocabulary of 256 bytes, not of 300$",
    ):
        held_out(loaded(vocab_size=300), path, None)
    with pytest.raises(InputError, match=r"^calibration text must have at least 8 bytes, not 3$"):
        samples(loaded(), b"abc", 1, 8)
    with pytest.raises(InputError, match=r"^calibration text must give 8 tokens, not 1$"):
        samples(loaded(Words()), b"a" * 999, 1, 8)
