"""What each technique buys: left out alone, and added one after another."""

from __future__ import annotations

from typing import NamedTuple

from reports import words
from reports.experiments.accllm.workloads import MACHINE, USUAL, rate, step
from reports.experiments.claim import Claim
from reports.experiments.lab import Lab, Settings

_SOURCE = "AccLLM, arXiv 2505.03745, ablation"
PRODUCT = 3.57


class Technique(NamedTuple):
    """A switch of the machine and what the paper says it buys."""

    name: str
    field: str
    published: float
    why: str


TECHNIQUES = (
    Technique("2:4 pruning", "sparse_selector", 1.39,
              "without it 2-bit weights move as many bytes (2 bits a weight against 4 bits of "
              "code and index for each of half as many) and twice the products"),
    Technique("2-bit weights", "low_bit_weights", 1.91,
              "8-bit codes with 2-bit indices are 4.05 + 0.13 GB a token against 1.85 + 0.13"),
    Technique("4-bit KV cache", "low_bit_kv", 1.05,
              "the cache streams beside the weights: only attention's longer phase is seen"),
    Technique("DSP packing", "dsp_packing", 1.28,
              "2048 products a cycle turn a memory-bound token into a compute-bound one"),
)  # fmt: skip

WITHOUT: Settings = {technique.field: False for technique in TECHNIQUES}
_ROOM: Settings = {"weight_channels": 25}
"""An unpruned 8-bit model has 6.6 GB: 24 pseudo-channels of 256 MB do not hold it, 25 do."""


def ablation(lab: Lab) -> list[Claim]:
    """Compare with 1.39, 1.91, 1.05 and 1.28, and with their product."""
    trace = step(USUAL)
    full = rate(lab, trace)
    whole = full / rate(lab, trace, settings={**WITHOUT, **_ROOM})
    claims = []
    for technique in TECHNIQUES:
        settings = {technique.field: False}
        claims.append(
            _claim(
                "Ablation, each left out alone",
                technique.name,
                technique.published,
                full / rate(lab, trace, settings=settings),
                f"{technique.why}; {_cycles(lab, settings)} without it, {_cycles(lab, {})} with",
            )
        )
    claims.append(
        _claim("Ablation, each left out alone", "all four, against none", PRODUCT, whole,
               "published: the product of the four; the base has 25 pseudo-channels for weights, "
               "24 do not hold 6.6 GB")
    )  # fmt: skip
    for technique, gain, note in one_after_another(lab):
        claims.append(
            _claim("Ablation, one after another", f"+ {technique.name}", technique.published, gain,
                   note)
        )  # fmt: skip
    return claims


def one_after_another(lab: Lab) -> list[tuple[Technique, float, str]]:
    """Return each technique's gain on top of those before it, and the cycles it leaves."""
    trace = step(USUAL)
    left = dict(WITHOUT)
    before = rate(lab, trace, settings={**left, **_ROOM})
    steps = []
    for technique in TECHNIQUES:
        del left[technique.field]
        after = rate(lab, trace, settings=left)
        note = "; ".join(filter(None, (_IN_ORDER.get(technique.field), _cycles(lab, left), _ORDER)))
        steps.append((technique, after / before, note))
        before = after
    return steps


_IN_ORDER = {
    "low_bit_weights": "as long as a DSP has one product the engine is the limit then, not the "
    "memory; packing, the last step, gets the rest; the memory had 2.1 times as many bytes",
}
_ORDER = "the paper does not say in which order, nor whether the steps are cumulative"


def _cycles(lab: Lab, settings: Settings) -> str:
    """Say what the memory and the engine are busy with for a token."""
    units = lab.run(step(USUAL), MACHINE, settings).tables["units"]
    busy = units[units["state"] == "busy"].set_index("unit")["cycles"]
    waits = units[(units["unit"] == "engine") & (units["state"] == "waits for operands")]
    return (
        f"weights stream {words.count_of(float(busy['HBM weights']))} cycles, the engine works "
        f"{words.count_of(float(busy['engine']))} and waits "
        f"{words.count_of(float(waits['cycles'].sum()))} for operands"
    )


def _claim(section: str, quantity: str, published: float, ours: float, assumed: str) -> Claim:
    return Claim(
        section=section,
        quantity=quantity,
        unit="times faster",
        published=published,
        ours=ours,
        inputs="synthetic",
        assumed=f"{assumed}; {USUAL:,} keys",
        source=_SOURCE,
    )
