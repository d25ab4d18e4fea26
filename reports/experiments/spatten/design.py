"""What each step of the design buys: the speed-up breakdown and two design-space curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import geometric_mean

from reports.experiments.claim import Claim
from reports.experiments.lab import Lab, Settings
from reports.experiments.spatten.workloads import (
    GENERATED_TOKENS,
    LATER_TOKENS,
    MEDIUM,
    SMALL,
)

MODELS = ("gpt2-small", "gpt2-medium")
LANES = (1, 2, 4, 8, 16, 32)
HALVES = (1, 2, 4, 8)
TITAN_XP_MS = 366.7
"""Attention of GPT-2 Medium, 32 tokens, on a TITAN Xp, as the authors measured it (SpAtten,
table on FC and attention)."""

FLOATS = {"fetch.stored_bits": (4, 8, 12, 32)}
"""Lets the machine fetch what is not quantised yet, in 32 bit."""

_FLOAT_NOTE = "unquantised operands have 32 bit in DRAM"
_INPUT = (
    f"{SMALL.note}, {MEDIUM.note}; geometric mean of the two; {_FLOAT_NOTE}; tokens 1, 11, 21 and "
    "32 of 32, weighted"
)


def lanes_of(lanes: int) -> Settings:
    """Return the settings of both top-k engines with so many comparators per array."""
    return {"value_topk.lanes": str(lanes), "cascade_topk.lanes": str(lanes)}


def halves_of(halves: int) -> Settings:
    """Return the settings of K and V buffers that hold so many of the longest heads."""
    return {"key_buffer.halves": str(halves), "value_buffer.halves": str(halves)}


def _cycles(lab: Lab, trace: str, settings: Settings | None = None) -> int:
    return int(lab.run(trace, "spatten", settings).row["cycles"])


def step_cycles(lab: Lab, model: str, step: str, lanes: int) -> float:
    """Return the cycles of all 32 tokens: the first one, and three that stand for the others."""
    settings = FLOATS | dict(lanes_of(lanes))
    first = _cycles(lab, f"{model}, {step}, first token", settings)
    later = _cycles(lab, f"{model}, {step}, later tokens", settings)
    return first + later * (GENERATED_TOKENS - 1) / len(LATER_TOKENS)


STEPS = (
    # name, published gain, (workload, comparators) before and after
    ("+ token and local value pruning", 1.1, ("nothing pruned", 16), ("tokens and values", 1)),
    ("+ head pruning", 1.1, ("tokens and values", 1), ("and heads", 1)),
    ("+ parallel top-k engine: 1 to 16 comparators", 3.0, ("and heads", 1), ("and heads", 16)),
    ("= cascade pruning with its engine", 3.4, ("nothing pruned", 16), ("and heads", 16)),
    ("+ quantisation", 2.8, ("and heads", 16), ("and quantised", 16)),
)


def breakdown(lab: Lab) -> list[Claim]:
    """Compare each step of the paper's speed-up breakdown with the one before it."""
    section = "Speed-up breakdown on GPT-2"
    source = "SpAtten, figure of the speed-up breakdown, its text and caption"
    unpruned_ms = step_cycles(lab, "gpt2-medium", "nothing pruned", 16) / 1e6
    claims = [
        Claim(
            section=section,
            quantity="dedicated datapath against a TITAN Xp",
            unit="times faster",
            published=22.1,
            ours=TITAN_XP_MS / unpruned_ms,
            inputs="synthetic",
            assumed="GPT-2 Medium only, whose GPU time the authors give (366.7 ms); theirs is the "
            f"mean of 8 benchmarks; {_FLOAT_NOTE}",
            source=source,
        )
    ]
    for name, published, before, after in STEPS:
        gains = [step_cycles(lab, m, *before) / step_cycles(lab, m, *after) for m in MODELS]
        claims.append(
            Claim(
                section=section,
                quantity=name,
                unit="times faster",
                published=published,
                ours=geometric_mean(gains),
                inputs="synthetic",
                assumed=_INPUT,
                source=source,
            )
        )
    return claims


def curve(lab: Lab, values: Iterable[int], settings: str, trace: str) -> list[float]:
    """Return the speed of each value, the paper's choice being 1."""
    make, chosen = {"lanes": (lanes_of, 16), "halves": (halves_of, 2)}[settings]
    whole = _cycles(lab, trace, make(chosen))
    return [whole / _cycles(lab, trace, make(value)) for value in values]


def curves(lab: Lab) -> list[Claim]:
    """Compare the design-space curves with what the text says of them."""
    lanes = curve(lab, LANES, "lanes", "gpt2-small")
    halves = curve(lab, HALVES, "halves", "gpt2-small")
    section = "Design space"
    source = "SpAtten, section V, design-space exploration, text; points of the curve not in text"
    claims = _points(section, "comparators per top-k array", LANES, lanes, source)
    claims += _points(section, "KB of each of K and V", [98 * h for h in HALVES], halves, source)
    flat = lanes[LANES.index(32)]
    return [
        Claim(
            section=section,
            quantity="gains flatten after 16 comparators: 32 against 16",
            unit="times faster",
            ours=flat,
            holds=flat < 1.1,
            inputs="synthetic",
            assumed="flat: less than a tenth faster",
            source=source,
        ),
        Claim(
            section=section,
            quantity="K and V SRAM beyond 196 KB give almost nothing: 786 against 196 KB",
            unit="times faster",
            ours=halves[-1],
            holds=halves[-1] < 1.05,
            inputs="synthetic",
            assumed="almost nothing: less than a twentieth faster",
            source=source,
        ),
        *claims,
    ]


def _points(
    section: str, name: str, values: Sequence[int], speeds: list[float], source: str
) -> list[Claim]:
    return [
        Claim(
            section=section,
            quantity=f"{value} {name}",
            unit="of the paper's choice",
            ours=speed,
            inputs="synthetic",
            assumed=SMALL.note,
            source=source,
        )
        for value, speed in zip(values, speeds, strict=True)
    ]
