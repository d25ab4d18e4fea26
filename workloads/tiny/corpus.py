"""The text of the tiny decoders: source of Python's own library, and what a bigram knows of it.

The corpus is the library of the Python that runs; every 20th module, by a hash of its name, is held
out. The first 64 KiB held out are stored beside the tiny decoder, the same whatever Python runs.
"""

from __future__ import annotations

import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

HELD_OUT_FILE = Path(__file__).parent / "decoder" / "held_out.txt"


def corpus() -> tuple[bytes, bytes]:
    """Return the text to train on and the held-out text, modules in the order of their names."""
    library = Path(sysconfig.get_paths()["stdlib"])
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(name.parts):
            held_out = zlib.crc32(name.as_posix().encode()) % 20 == 0
            parts[held_out].append(path.read_bytes())
    return b"\n".join(parts[0]), b"\n".join(parts[1])


def bigram_nats(train: bytes, held_out: bytes) -> float:
    """Return the mean loss of a bigram model with add-one smoothing, nats a byte."""
    text = np.frombuffer(train, np.uint8).astype(np.int64)
    counts = np.bincount(text[:-1] * 256 + text[1:], minlength=65536).reshape(256, 256) + 1.0
    logs = np.log(counts / counts.sum(1, keepdims=True))
    seen = np.frombuffer(held_out, np.uint8)
    return float(-logs[seen[:-1], seen[1:]].mean())


def held_out_nats(model: Any, text: bytes, context: int) -> float:
    """Return the mean loss over windows of the whole context, nats a byte."""
    windows = torch.tensor(list(text)).view(-1, context)
    with torch.inference_mode():
        losses = [model(input_ids=w[None], labels=w[None]).loss.item() for w in windows]
    return float(np.mean(losses))


def batches(text: bytes, phases: tuple[tuple[int, int, int], ...]) -> Iterator[torch.Tensor]:
    """Draw token ids (sequences, tokens) from random places of a text.

    Args:
        text: the bytes are the ids.
        phases: (batches, sequences, tokens) of each phase, one after the other.
    """
    ids = np.frombuffer(text, np.uint8)
    for count, sequences, tokens in phases:
        for _ in range(count):
            starts = torch.randint(0, len(ids) - tokens, (sequences,)).tolist()
            yield torch.stack(
                [torch.from_numpy(ids[s : s + tokens].astype(np.int64)) for s in starts]
            )
