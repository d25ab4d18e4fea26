"""Choose the sentence pairs of `sentences.tsv` from Python's own documentation.

`pydoc_data.topics` is the text behind `help("assignment")` and the like, part of every CPython.
A pair is two consecutive sentences of one paragraph, so the two are about the same thing.
The choice is deterministic: paragraphs in reading order, topics in turn, no randomness.

    python -m workloads.data.make_sentences
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

SOURCE_VERSION = "3.11.7"  # the CPython whose topics made the file in the repository
PAIRS = 100
PAIRS_PER_TOPIC = 8
WORDS = range(8, 41)  # words of one sentence

_LABEL = re.compile(r"^\*\*CPython implementation detail:\*\* ")
_MARKUP = re.compile(r"[\"“”]| \[\d+\]|(?<![\w*])\*{1,2}(?=\w)|(?<=[\w.,])\*{1,2}(?![\w*])")
_QUOTED = re.compile(r"‘([^’]*)’")
_PROSE = re.compile(r"[A-Z](?:[A-Za-z0-9_ ,;:’'()–-]|\.(?=\w))*\.")
_BREAK = re.compile(r"(?<=[^.]{3}\.) +(?=[A-Z])")
_NOT_PROSE = re.compile(r"^(New in|Changed in|Deprecated|Note|Source|See also|Raises)\b|[:;]$")
_POINTER = re.compile(r"\b(see|sections?|PEP|footnote|below)\b|\b(e\.g|i\.e)\.", re.I)


def candidate_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of clean consecutive sentences of a topic; none shares a sentence."""
    for paragraph in re.split(r"\n\s*\n", text):
        sentences = _sentences(paragraph)
        at = 0
        while at + 1 < len(sentences):
            first, second = sentences[at : at + 2]
            if _is_clean(first) and _is_clean(second):
                yield first, second
                at += 1
            at += 1


def choose_pairs(topics: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return (topic, first, second): the first pair of every topic, then the second ...

    Raises:
        ValueError: the topics hold fewer than `PAIRS` pairs.
    """
    seen: set[str] = set()
    by_topic = []
    for topic in sorted(topics):
        fresh: list[tuple[str, str, str]] = []
        for first, second in candidate_pairs(topics[topic]):
            if not {first, second} & seen and len(fresh) < PAIRS_PER_TOPIC:
                seen |= {first, second}
                fresh.append((topic, first, second))
        by_topic.append(fresh)
    rounds = [pair for turn in zip_longest(*by_topic) for pair in turn if pair is not None]
    if len(rounds) < PAIRS:
        raise ValueError(f"the topics must hold at least {PAIRS} pairs, they hold {len(rounds)}")
    return sorted(rounds[:PAIRS])


def to_tsv(pairs: list[tuple[str, str, str]]) -> str:
    """Return the text of the file: one pair a line, columns topic, first and second."""
    return "".join("\t".join(pair) + "\n" for pair in [("topic", "first", "second"), *pairs])


def _sentences(paragraph: str) -> list[str]:
    lines = paragraph.strip("\n").split("\n")
    indents = {len(line) - len(line.lstrip()) for line in lines}
    if len(lines) < 2 or len(indents) > 1:
        return []  # headings are short; list items, tables and most code have uneven indents
    words = _LABEL.sub("", " ".join(line.strip() for line in lines))
    plain = _MARKUP.sub("", _QUOTED.sub(r"\1", words))
    joined = re.sub(r"(?<=\w)- (?=\w)", "-", plain)  # a compound broken over two lines
    return [] if _NOT_PROSE.search(joined) else _BREAK.split(re.sub(r" +", " ", joined))


def _is_clean(sentence: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return (
        _PROSE.fullmatch(sentence) is not None
        and len(sentence.split()) in WORDS
        and letters >= 0.93 * len(sentence)
        and sentence.count("(") == sentence.count(")")
        and _POINTER.search(sentence) is None
    )


def main() -> None:
    """Write `sentences.tsv` beside this script, from the Python that runs it."""
    from pydoc_data.topics import topics

    (Path(__file__).parent / "sentences.tsv").write_text(to_tsv(choose_pairs(topics)), "utf-8")


if __name__ == "__main__":
    main()
