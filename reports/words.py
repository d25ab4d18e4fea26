"""Numbers as people read them. Every text of a report is made here, so all read alike."""

from __future__ import annotations

import math

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and thousands marked."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, decimals)}f}"


def mean(value: float) -> str:
    """Return a mean of small counts: "9", "9.5"."""
    return f"{value:.1f}".removesuffix(".0")


def si(value: float, unit: str, digits: int = 3) -> str:
    """Return a number with a decimal prefix: `si(1234567, "B")` is "1.23 MB"."""
    if not math.isfinite(value):
        return "-"
    factor, prefix = next(((f, p) for f, p in _PREFIXES if abs(value) >= f), (1.0, ""))
    if value and abs(value) < 1:
        return f"{number(value, digits)} {unit}"
    return f"{number(value / factor, digits)} {prefix}{unit}".rstrip()


def cycles(value: float) -> str:
    return f"{si(value, '')} cycles"


def count_of(value: float) -> str:
    return si(value, "")


def size(value: float) -> str:
    return si(value, "B")


def energy(picojoules: float) -> str:
    """Return an energy in the unit that reads best, pJ to J."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ")):
        if abs(picojoules) >= factor:
            return f"{number(picojoules / factor)} {unit}"
    return f"{number(picojoules)} pJ"


def duration(nanoseconds: float) -> str:
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(nanoseconds) >= factor:
            return f"{number(nanoseconds / factor)} {unit}"
    return f"{number(nanoseconds)} ns"


def percent(share: float) -> str:
    """Return a share of 1 as a percentage, with a decimal only where it matters."""
    if not math.isfinite(share):
        return "-"
    value = 100 * share
    if 0 < value < 0.05:
        return "under 0.1 %"
    if 0 < abs(value) < 1 or 99 < value < 100:
        return f"{value:.1f} %"
    return f"{value:.0f} %"


def times(ratio: float) -> str:
    return f"{number(ratio)}×" if ratio < 100 else f"{ratio:,.0f}×"


def gain(base: float, value: float, noun: str, *, fewer: str = "fewer", more: str = "more") -> str:
    """Say how `value` compares with `base`: "3.1× fewer cycles", "the same cycles"."""
    if base <= 0 or value <= 0:
        return f"no {noun} at all" if value <= 0 < base else f"{noun} not comparable"
    ratio = base / value
    if abs(ratio - 1) < 0.005:
        return f"the same {noun}"
    return f"{times(ratio)} {fewer} {noun}" if ratio > 1 else f"{times(1 / ratio)} {more} {noun}"


def factor(base: float, value: float, *, fewer: str = "fewer", more: str = "more") -> str:
    """Say the same of one amount without its noun: "3.1× fewer", "the same"."""
    if base <= 0 or value <= 0:
        return "-"
    return gain(base, value, "", fewer=fewer, more=more).rstrip()


def join(parts: list[str]) -> str:
    """Join with commas and a final "and"."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def trace_name(method: str) -> str:
    """Name a trace by its method; the control without pruning is called what it is."""
    return "unpruned" if method == "dense" else method


METRICS = {
    "spearman": "rank correlation of similarities",
    "similarity_cosine": "cosine of similarity rows",
    "embedding_cosine": "cosine of sentence vectors",
    "top1_agreement": "same nearest sentence",
    "top1_retrieval": "partner found",
    "top1_retrieval_dense": "partner found, full precision",
    "nats_per_token": "loss in nats a token",
    "same_prediction": "same token predicted",
    "top1": "top-1 accuracy",
    "answer_accuracy": "share of questions answered right",
    "answer_kept": "share of questions whose own context stays",
}
"""Accuracies by column name without `accuracy_`; other names are shown as they are."""


def metric(name: str) -> str:
    short = name.removeprefix("accuracy_")
    return METRICS.get(short, short.replace("_", " "))


def sentence(parts: list[str]) -> str:
    """Return one sentence of parts, with a capital and a full stop."""
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
