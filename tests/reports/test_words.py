"""Numbers as people read them."""

from __future__ import annotations

import pytest

from reports import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.size(1_234_567), "1.23 MB"),
        (words.size(0), "0 B"),
        (words.size(999), "999 B"),
        (words.cycles(2_500), "2.50 k cycles"),
        (words.energy(6.61e9), "6.61 mJ"),
        (words.energy(12), "12.0 pJ"),
        (words.duration(787_000), "787 µs"),
        (words.percent(0.5), "50 %"),
        (words.percent(0.0049), "0.5 %"),
        (words.percent(0.0003), "under 0.1 %"),
        (words.percent(1.0), "100 %"),
        (words.percent(float("nan")), "-"),
        (words.times(1.52), "1.52×"),
        (words.times(1234.0), "1,234×"),
        (words.mean(9.0), "9"),
        (words.mean(9.46), "9.5"),
        (words.gain(300, 100, "cycles"), "3.00× fewer cycles"),
        (words.gain(100, 300, "cycles"), "3.00× more cycles"),
        (words.gain(100, 100, "cycles"), "the same cycles"),
        (words.gain(100, 0, "bytes"), "no bytes at all"),
        (words.gain(0, 100, "bytes"), "bytes not comparable"),
        (words.factor(300, 100), "3.00× fewer"),
        (words.factor(100, 100), "the same"),
        (words.factor(100, 0), "-"),
        (words.join(["a"]), "a"),
        (words.join(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_reads(text: str, expected: str) -> None:
    assert text == expected
