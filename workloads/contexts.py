"""Questions with retrieved contexts, one of which answers: from the sentence pairs shipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.errors import InputError
from workloads.tasks import SentencePairs

CONTEXTS = 8  # a question


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """A question, what was retrieved for it, and which of it belongs to it."""

    question: str
    contexts: tuple[str, ...]
    answer: int  # place of the question's own partner


def retrieved(pairs: SentencePairs, seed: int = 0) -> list[Retrieved]:
    """Return a question of each pair: its first sentence, with the second among others.

    The other contexts are second sentences of other pairs, drawn at random, and the order is
    random too.

    Raises:
        InputError: fewer pairs than contexts.
    """
    if len(pairs) < CONTEXTS:
        raise InputError(f"contexts need at least {CONTEXTS} sentence pairs, not {len(pairs)}")
    random = np.random.default_rng(seed)
    found = []
    for number, (question, own) in enumerate(pairs):
        others = random.choice(len(pairs) - 1, CONTEXTS - 1, replace=False)
        texts = [pairs[other + (other >= number)][1] for other in others.tolist()]
        place = int(random.integers(CONTEXTS))
        texts.insert(place, own)
        found.append(Retrieved(question=question, contexts=tuple(texts), answer=place))
    return found
