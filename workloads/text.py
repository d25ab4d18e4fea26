"""Text as token ids: held-out windows to measure loss on, and samples to calibrate with.

A decoder without a tokenizer reads bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workloads.errors import InputError
from workloads.models import DEFAULT_DECODER, TINY_DECODER, LoadedModel
from workloads.tiny_models import MOE

Tokens = np.ndarray[Any, np.dtype[np.int64]]

CONTEXT_LIMIT = 2048  # tokens of a window, as the papers of SparseGPT and Wanda measure
_WITH_TEXT = (DEFAULT_DECODER, MOE)
_BYTES_PER_TOKEN = 16  # more than tokenizers need on average


def held_out(loaded: LoadedModel, path: Path | None, limit: int | None) -> Tokens:
    """Return the first windows of a text, (windows, tokens): they follow each other, whole.

    A window is as long as the model's context, at most `CONTEXT_LIMIT` tokens; a text shorter
    than that is one window.

    Args:
        loaded: a decoder.
        path: the text; None: what the tiny decoders have not been trained on.
        limit: most windows; None: all there are.

    Raises:
        InputError: no text for another model, or one that is too short or no UTF-8.
        OSError: the file cannot be read.
    """
    if path is None and loaded.name not in _WITH_TEXT:
        raise InputError(
            f"text must be given for {loaded.name}, only {' and '.join(_WITH_TEXT)} have their own"
        )
    path = path or TINY_DECODER / "held_out.txt"
    ids = _token_ids(loaded, path.read_bytes(), str(path))
    if len(ids) < 2:
        raise InputError(f"text {path} must have at least 2 tokens, not {len(ids)}")
    tokens = min(context_of(loaded), len(ids))
    windows = ids[: len(ids) // tokens * tokens].reshape(-1, tokens)
    return windows[:limit]


def samples(loaded: LoadedModel, text: bytes, count: int, tokens: int, seed: int = 0) -> Tokens:
    """Draw (count, tokens) from a long text, each sample from a random place of its own.

    Raises:
        InputError: the text is too short, or no UTF-8.
    """
    random = np.random.default_rng(seed)
    wanted = tokens if loaded.tokenizer is None else tokens * _BYTES_PER_TOKEN
    if len(text) < wanted:
        raise InputError(f"calibration text must have at least {wanted} bytes, not {len(text)}")
    drawn = []
    for start in random.integers(0, len(text) - wanted + 1, count):
        ids = _token_ids(loaded, text[start : start + wanted], "for calibration", cut=True)
        if len(ids) < tokens:
            raise InputError(f"calibration text must give {tokens} tokens, not {len(ids)}")
        drawn.append(ids[:tokens])
    return np.stack(drawn)


def library_text() -> bytes:
    """Return source of the Python library that runs: modules the tiny decoder may train on."""
    from workloads.tiny.corpus import corpus

    return corpus()[0]


def context_of(loaded: LoadedModel) -> int:
    """Return the tokens of a window."""
    return min(int(loaded.model.config.max_position_embeddings), CONTEXT_LIMIT)


def _token_ids(loaded: LoadedModel, text: bytes, name: str, cut: bool = False) -> Tokens:
    """Return ids (tokens,); `cut`: the ends of the text may have cut a character."""
    if loaded.tokenizer is not None:
        try:
            decoded = text.decode("utf-8", "ignore" if cut else "strict")
        except UnicodeDecodeError as error:
            raise InputError(f"text {name} must be UTF-8, byte {error.start} is not") from error
        # verbose: no warning that the whole text is longer than the model's context
        ids = loaded.tokenizer(decoded, add_special_tokens=False, verbose=False)["input_ids"]
        return np.array(ids, np.int64)
    vocabulary = loaded.model.config.vocab_size
    if vocabulary != 256:
        raise InputError(
            f"model {loaded.name} must have a tokenizer or a vocabulary of 256 bytes, "
            f"not of {vocabulary}"
        )
    return np.frombuffer(text, np.uint8).astype(np.int64)
