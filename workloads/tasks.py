"""What runs: the registry of workloads, and the sentence-pair task with its accuracy.

The task. An encoder turns sentence pairs into vectors. Pruning is harmless if the pruned vectors
rank and weigh the similarities of sentences as the dense vectors do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from workloads.errors import InputError

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
SentencePairs = list[tuple[str, str]]

SENTENCES = Path(__file__).parent / "data" / "sentences.tsv"
DEFAULT_WORKLOAD = "minilm-sentences"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One thing to run: a model on real inputs, or a model's shape without weights."""

    name: str
    description: str
    kind: Literal["sentences", "text", "images", "questions", "contexts", "shape"]
    shape: str = ""  # name in SHAPES, of kind "shape"
    tokens: int = 0  # tokens of the prompt or of the encoder's input; 0: as the inputs have them
    generate: int = 0  # tokens after the prompt
    inputs: int = 0  # texts, images or canvases; 0: all there are

    @property
    def synthetic(self) -> bool:
        """Tell whether the sparsity is assumed, not measured on a model."""
        return self.kind == "shape"


def _shape(shape: str, tokens: int, generate: int, what: str) -> Workload:
    return Workload(
        name=f"{shape}-{tokens}",
        description=what,
        kind="shape",
        shape=shape,
        tokens=tokens,
        generate=generate,
    )


_GPT2 = "992 tokens, then 32 generated, as SpAtten measured (Wang et al., HPCA 2021, evaluation)"

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            name=DEFAULT_WORKLOAD,
            description="MiniLM-L6 on 100 pairs of English sentences from Python's documentation",
            kind="sentences",
        ),
        Workload(
            name="tiny-decoder",
            description="the tiny decoder on held-out Python source: 448 bytes, then 32 one by one",
            kind="text",
            tokens=448,
            generate=32,
            inputs=16,
        ),
        Workload(
            name="tiny-moe",
            description="the tiny mixture-of-experts decoder on the same text, as tiny-decoder",
            kind="text",
            tokens=448,
            generate=32,
            inputs=16,
        ),
        Workload(
            name="tiny-vit",
            description="the tiny vision transformer on held-out handwritten digits",
            kind="images",
            inputs=120,
        ),
        Workload(
            name="tiny-vlm",
            description="the tiny vision-language model on questions about canvases of digits",
            kind="questions",
            inputs=24,
        ),
        Workload(
            name="minilm-contexts",
            description="MiniLM-L6 on questions with 8 contexts, one of which belongs to each",
            kind="contexts",
            inputs=100,
        ),
        _shape("bert-base", 384, 0, "BERT-Base on 384 tokens, the usual SQuAD input"),
        _shape("bert-large", 384, 0, "BERT-Large on 384 tokens, the usual SQuAD input"),
        _shape("gpt2-small", 992, 32, f"GPT-2 Small on {_GPT2}"),
        _shape("gpt2-medium", 992, 32, f"GPT-2 Medium on {_GPT2}"),
        _shape("deit-small", 197, 0, "DeiT-Small on 196 image patches and the class token"),
    )
}


def read_sentence_pairs(path: Path | None = None, limit: int | None = None) -> SentencePairs:
    """Return pairs of related sentences.

    Args:
        path: a text file, one pair a line: `first TAB second` or `topic TAB first TAB second`.
            A line `first TAB second` or `topic TAB first TAB second` at its top is a header.
            None: the pairs shipped with prunesim.
        limit: take only the first pairs; None: all.

    Raises:
        InputError: no such file, not UTF-8, a line of another form, or fewer than 2 pairs.
    """
    if limit is not None and limit < 2:
        raise InputError(f"limit must be at least 2 sentence pairs, not {limit}")
    source = SENTENCES if path is None else path
    try:
        text = source.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"sentence file {source} must be readable text: {reason}") from error
    pairs = _parse_pairs(text, source)
    if len(pairs) < 2:
        held = len(pairs)
        raise InputError(f"sentence file {source} must hold at least 2 pairs, it holds {held}")
    return pairs[:limit]


def _parse_pairs(text: str, source: Path) -> SentencePairs:
    pairs = []
    for number, line in enumerate(text.split("\n"), start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not line.strip() or (number == 1 and cells[-2:] == ["first", "second"]):
            continue
        if len(cells) not in (2, 3) or not all(cells[-2:]):
            raise InputError(
                f"sentence file {source} line {number} must hold two sentences with a tab "
                f"between them, not {line[:60]!r}"
            )
        pairs.append((cells[-2], cells[-1]))
    return pairs


def tokenize(
    pairs: SentencePairs, tokenizer: Callable[..., Any], max_tokens: int
) -> list[list[int]]:
    """Return the token ids of all first sentences, then of all second sentences.

    Args:
        pairs: n pairs of sentences.
        tokenizer: a transformers tokenizer; it adds its own special tokens.
        max_tokens: longer sentences are cut there, special tokens included.

    Raises:
        InputError: `max_tokens` leaves no room for a word between two special tokens.
    """
    if max_tokens < 3:
        raise InputError(f"max_tokens must be at least 3, not {max_tokens}")
    sentences = [first for first, _ in pairs] + [second for _, second in pairs]
    encoded = tokenizer(sentences, truncation=True, max_length=max_tokens)["input_ids"]
    return [[int(token) for token in ids] for ids in encoded]


class _Task(NamedTuple):
    """Unit vectors of n pairs and the (n, n) cosines between first and second sentences."""

    vectors: FloatArray
    similarity: FloatArray

    @property
    def best(self) -> Any:
        """Return (n,) for each first sentence, the second sentence most like it."""
        return self.similarity.argmax(axis=1)


def accuracy(embeddings: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> dict[str, float]:
    """Compare pruned with dense sentence vectors.

    Args:
        embeddings: (2n, d) pruned; rows as `tokenize` orders them.
        reference: (2n, d) of the unpruned model.

    Returns:
        `spearman`: rank correlation of all n x n similarities with the dense ones, in [-1, 1];
        `similarity_cosine`: mean cosine of a row of similarities with its dense row;
        `embedding_cosine`: mean cosine of a vector with its dense vector;
        `top1_agreement`: share of first sentences with the same nearest second sentence;
        `top1_retrieval`, `top1_retrieval_dense`: share whose nearest is its own partner.

    Raises:
        InputError: other shapes, fewer than 2 pairs, a number that is not finite, a zero vector.
    """
    if embeddings.shape != reference.shape:
        raise InputError(
            f"pruned and dense embeddings must have one shape, not {embeddings.shape} "
            f"and {reference.shape}"
        )
    pruned, dense = _task(embeddings, "pruned"), _task(reference, "dense")
    own = np.arange(len(dense.similarity))
    return {
        "spearman": spearman(pruned.similarity.ravel(), dense.similarity.ravel()),
        "similarity_cosine": _mean_cosine(pruned.similarity, dense.similarity),
        "embedding_cosine": _mean_cosine(pruned.vectors, dense.vectors),
        "top1_agreement": float((pruned.best == dense.best).mean()),
        "top1_retrieval": float((pruned.best == own).mean()),
        "top1_retrieval_dense": float((dense.best == own).mean()),
    }


def top1(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Return the share of rows (n, classes) whose greatest value, the first if equal, is at (n,).

    Raises:
        InputError: other shapes, no rows, or a value that is not finite.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise InputError(
            f"logits must have the shape (n, classes) of n >= 1 labels, not {logits.shape} "
            f"for {labels.shape}"
        )
    if not np.isfinite(logits).all():
        raise InputError("logits must be finite, some are not")
    return float((logits.argmax(axis=1) == labels).mean())


def answer_accuracy(answers: Sequence[str], expected: Sequence[str]) -> float:
    """Return the share of answers that are exactly the expected ones.

    Raises:
        InputError: no answers, or not as many as are expected.
    """
    if not answers or len(answers) != len(expected):
        raise InputError(
            f"answers must be one for each of at least 1 question, not {len(answers)} "
            f"for {len(expected)}"
        )
    return sum(a == e for a, e in zip(answers, expected, strict=True)) / len(answers)


def spearman(left: FloatArray, right: FloatArray) -> float:
    """Return the Spearman rank correlation of two (n,) arrays; equal numbers share a mean rank.

    Returns 0 where one of them is constant: it ranks nothing.
    """
    ranks = [_average_ranks(values) for values in (left, right)]
    x, y = (rank - rank.mean() for rank in ranks)
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / spread if spread else 0.0


def _average_ranks(values: FloatArray) -> FloatArray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts - 1) / 2)[group]
    return ranks


def _task(vectors: np.ndarray[Any, Any], which: str) -> _Task:
    if vectors.ndim != 2 or len(vectors) % 2 or len(vectors) < 4:
        raise InputError(
            f"{which} embeddings must have the shape (2n, d) of at least 2 pairs, "
            f"not {vectors.shape}"
        )
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    for usable, requirement in (
        (np.isfinite(lengths), "finite"),
        (lengths > 0, "other than a zero vector"),
    ):
        if not usable.all():
            raise InputError(f"{which} embedding {int(np.argmin(usable))} must be {requirement}")
    unit = wide / lengths[:, None]
    half = len(unit) // 2
    # Rounding noise must not order what is equal, nor differ between two BLAS libraries
    return _Task(unit, np.round(unit[:half] @ unit[half:].T, 9))


def _mean_cosine(left: FloatArray, right: FloatArray) -> float:
    products = (left * right).sum(axis=1)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float((products / np.maximum(lengths, np.finfo(np.float64).tiny)).mean())
