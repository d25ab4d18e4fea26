"""The sentence-pair task: its data, its reader and its accuracy, against hand-computed numbers."""

from __future__ import annotations

import math
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.data import make_sentences
from workloads.errors import InputError
from workloads.models import load_encoder
from workloads.shapes import SHAPES
from workloads.tasks import (
    DEFAULT_WORKLOAD,
    SENTENCES,
    WORKLOADS,
    accuracy,
    answer_accuracy,
    read_sentence_pairs,
    spearman,
    tokenize,
    top1,
)


def test_shipped_file_holds_100_clean_pairs() -> None:
    lines = SENTENCES.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert rows[0] == ["topic", "first", "second"]
    assert len(rows) == 101
    sentences = [sentence for _, *pair in rows[1:] for sentence in pair]
    assert len(set(sentences)) == 200
    for sentence in sentences:
        assert 8 <= len(sentence.split()) <= 40
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not re.search(r"[\"`*=\[\]<>\\]|\s{2}", sentence)


def test_shipped_pairs_are_spread_over_topics() -> None:
    topics = [line.split("\t")[0] for line in SENTENCES.read_text("utf-8").splitlines()[1:]]
    assert len(set(topics)) >= 50
    assert max(topics.count(topic) for topic in set(topics)) <= make_sentences.PAIRS_PER_TOPIC


def test_shipped_file_is_what_its_script_makes() -> None:
    if platform.python_version() != make_sentences.SOURCE_VERSION:
        pytest.skip(f"sentences.tsv comes from the topics of {make_sentences.SOURCE_VERSION}")
    from pydoc_data.topics import topics

    made = make_sentences.to_tsv(make_sentences.choose_pairs(topics))
    assert made == SENTENCES.read_text("utf-8")


def test_pairs_are_consecutive_prose_of_one_paragraph() -> None:
    text = (
        "Heading\n*******\n\n"
        'A *simple* statement is comprised within "a" single logical\n'
        "line of the text. Several simple statements may occur on one line\n"
        "separated by semicolons. Short one here. The last sentence of it is also quite long.\n\n"
        "   code = that + looks\n   like = nothing\n\n"
        "* An item of a list that goes on\n  over two lines. It is not taken as it is a list.\n"
    )
    assert list(make_sentences.candidate_pairs(text)) == [
        (
            "A simple statement is comprised within a single logical line of the text.",
            "Several simple statements may occur on one line separated by semicolons.",
        )
    ]


def test_too_few_topics_are_refused() -> None:
    with pytest.raises(ValueError, match="must hold at least 100 pairs, they hold 0"):
        make_sentences.choose_pairs({"empty": ""})


def test_default_pairs_and_limit() -> None:
    assert len(read_sentence_pairs()) == 100
    assert read_sentence_pairs(limit=3) == read_sentence_pairs()[:3]


@pytest.mark.parametrize(
    "text",
    [
        "a b\tc d\ne f\tg h\n",
        "t\ta b\tc d\nt\te f\tg h\n",
        "topic\tfirst\tsecond\nt\ta b\tc d\n\nt\te f\tg h",
        "first\tsecond\r\na b\tc d\r\ne f\tg h\r\n",
        "\ufeffa b\tc d\ne f\tg h\n",
    ],
)
def test_own_file_of_two_or_three_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes(text.encode("utf-8"))
    assert read_sentence_pairs(path) == [("a b", "c d"), ("e f", "g h")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "must hold at least 2 pairs, it holds 0"),
        (b"first\tsecond\n", "must hold at least 2 pairs, it holds 0"),
        (b"a\tb\n", "must hold at least 2 pairs, it holds 1"),
        (b"a\tb\nno tab\n", "line 2 must hold two sentences with a tab between them, not 'no tab'"),
        (b"a\t\n", r"line 1 must hold two sentences with a tab between them, not 'a\\t'"),
        (b"a\tb\tc\td\n", "line 1 must hold two sentences"),
        (b"\xff\xfe\tb\n", "must be readable text: it is not UTF-8"),
    ],
)
def test_bad_sentence_file_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^sentence file {re.escape(str(path))} {sentence}"):
        read_sentence_pairs(path)


def test_absent_sentence_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be readable text: No such file or directory"):
        read_sentence_pairs(tmp_path / "none.tsv")


@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_limit_below_two_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match=f"^limit must be at least 2 sentence pairs, not {limit}$"):
        read_sentence_pairs(limit=limit)


def fake_tokenizer(sentences: list[str], *, truncation: bool, max_length: int) -> dict[str, Any]:
    """Turn each letter into its code between 1 and 2, cut as a transformers tokenizer cuts."""
    assert truncation
    return {"input_ids": [[1, *map(ord, s[: max_length - 2]), 2] for s in sentences]}


def test_tokenize_puts_first_sentences_first_and_cuts() -> None:
    ids = tokenize([("a", "bcd"), ("e", "f")], fake_tokenizer, max_tokens=4)
    assert ids == [[1, 97, 2], [1, 101, 2], [1, 98, 99, 2], [1, 102, 2]]


def test_tokenize_without_room_is_refused() -> None:
    with pytest.raises(InputError, match=r"^max_tokens must be at least 3, not 2$"):
        tokenize([("a", "b")], fake_tokenizer, max_tokens=2)


@pytest.mark.model
def test_tokenize_with_the_default_model() -> None:
    pairs = read_sentence_pairs(limit=3)
    ids = tokenize(pairs, load_encoder().tokenizer, max_tokens=12)
    assert len(ids) == 6
    for sentence in ids:
        assert (sentence[0], sentence[-1]) == (101, 102)
        assert len(sentence) <= 12


def test_spearman_without_ties_matches_its_formula() -> None:
    # IQ and hours of television of ten people, the worked example of many textbooks:
    # sum of squared rank differences 194, rho = 1 - 6 * 194 / (10 * 99) = -29 / 165
    iq = np.array([106.0, 100, 86, 101, 99, 103, 97, 113, 112, 110])
    hours = np.array([7.0, 27, 2, 50, 28, 29, 20, 12, 6, 17])
    assert spearman(iq, hours) == pytest.approx(-29 / 165, abs=1e-12)


def test_spearman_shares_mean_ranks_among_ties() -> None:
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3.5, 3.5: deviations -1.5, 0, 0, 1.5 and -1.5, -.5, 1, 1
    rho = spearman(np.array([1.0, 2, 2, 3]), np.array([5.0, 6, 7, 7]))
    assert rho == pytest.approx(3.75 / math.sqrt(4.5 * 4.5), abs=1e-12)


def test_spearman_ends_and_constant() -> None:
    rising = np.array([1.0, 2, 5])
    assert spearman(rising, rising**3) == pytest.approx(1.0)
    assert spearman(rising, -rising) == pytest.approx(-1.0)
    assert spearman(rising, np.ones(3)) == 0.0


EAST, NORTH, NORTHEAST = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)


def test_unpruned_embeddings_are_perfect() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    measured = accuracy(vectors, vectors)
    retrieval = measured.pop("top1_retrieval"), measured.pop("top1_retrieval_dense")
    assert retrieval[0] == retrieval[1]
    assert measured == pytest.approx(
        {"spearman": 1, "similarity_cosine": 1, "embedding_cosine": 1, "top1_agreement": 1}
    )


def test_accuracy_of_two_pairs_by_hand() -> None:
    # dense: pairs (E, E) and (N, N), similarities [[1, 0], [0, 1]]
    # pruned: the second pair became (N, E), similarities [[1, 1], [0, 0]]
    dense = np.array([EAST, NORTH, EAST, NORTH])
    pruned = np.array([EAST, NORTH, EAST, EAST]) * 3  # length does not matter
    measured = accuracy(pruned, dense)
    assert measured["spearman"] == pytest.approx(0.0)
    assert measured["similarity_cosine"] == pytest.approx((1 / math.sqrt(2) + 0) / 2)
    assert measured["embedding_cosine"] == pytest.approx(3 / 4)
    # nearest to the first: its partner, in both (the first of equals); to the second: 1 became 0
    assert measured["top1_agreement"] == 0.5
    assert measured["top1_retrieval"] == 0.5
    assert measured["top1_retrieval_dense"] == 1.0


def test_accuracy_ranks_similarities_by_hand() -> None:
    # similarities dense [[1, 0], [.7, .7]], pruned [[1, .7], [.7, 1]]: flattened ranks
    # 4, 1, 2.5, 2.5 and 3.5, 1.5, 1.5, 3.5; deviations give 1.5 + 1.5 = 3 over sqrt(4.5 * 4)
    dense = np.array([EAST, NORTHEAST, EAST, NORTH])
    pruned = np.array([EAST, NORTHEAST, EAST, NORTHEAST])
    measured = accuracy(pruned, dense)
    assert measured["spearman"] == pytest.approx(3 / math.sqrt(18))
    assert measured["embedding_cosine"] == pytest.approx((3 + math.sqrt(0.5)) / 4)


@pytest.mark.parametrize(
    ("pruned", "sentence"),
    [
        (np.ones((3, 2)), r"must have one shape, not \(3, 2\) and \(4, 2\)$"),
        (np.full((4, 2), np.nan), "^pruned embedding 0 must be finite$"),
        (np.array([EAST, EAST, (np.inf, 0), EAST]), "^pruned embedding 2 must be finite$"),
        (np.array([EAST, (0, 0), EAST, EAST]), "^pruned embedding 1 must be other than a zero"),
    ],
)
def test_unusable_embeddings_are_refused(pruned: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        accuracy(pruned, np.ones((4, 2)))


@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (4,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must have the shape \(2n, d\) of at least 2 pairs, not"):
        accuracy(np.ones(shape), np.ones(shape))


def test_top1_by_hand() -> None:
    logits = np.array([[0.1, 0.9], [0.7, 0.2], [0.5, 0.5], [0.2, 0.3]])
    assert top1(logits, np.array([1, 0, 0, 0])) == 0.75  # equal: the first


@pytest.mark.parametrize(
    ("logits", "labels", "sentence"),
    [
        (np.ones((2, 3)), np.ones(3), r"not \(2, 3\) for \(3,\)$"),
        (np.ones(3), np.ones(3), r"^logits must have the shape \(n, classes\) of n >= 1 labels"),
        (np.ones((0, 3)), np.ones(0), r"not \(0, 3\) for \(0,\)$"),
        (np.array([[np.nan, 1]]), np.ones(1), "^logits must be finite, some are not$"),
    ],
)
def test_unusable_logits_are_refused(logits: np.ndarray, labels: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        top1(logits, labels)


def test_answers_are_right_or_wrong() -> None:
    assert answer_accuracy(["7", "none", "1"], ["7", "none", "10"]) == pytest.approx(2 / 3)
    for answers in ([], ["7"]):
        with pytest.raises(InputError, match=r"^answers must be one for each of at least 1 quest"):
            answer_accuracy(answers, ["7", "8"] if answers else [])


def test_registry_is_consistent() -> None:
    assert not WORKLOADS[DEFAULT_WORKLOAD].synthetic
    for name, workload in WORKLOADS.items():
        assert workload.name == name
        assert workload.description
        assert workload.synthetic == (workload.kind == "shape")
        if workload.kind == "shape":
            assert workload.shape in SHAPES
            assert workload.tokens > 0
