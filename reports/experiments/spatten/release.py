"""What the authors released: their RTL's published waveform and their C++ model."""

from __future__ import annotations

from reports.experiments.claim import Claim
from reports.experiments.lab import Lab

WAVEFORM_CYCLES = 374
CPP_CYCLES = {384: 2_669_844, 128: 300_948}
"""bert.cpp with 512 multipliers and 16 channels, BERT-Base, nothing pruned, by tokens."""

ANCHOR = {"num_bufline": 64, "num_multipliers": 128, "bandwidth_downsample": 2}


def release(lab: Lab) -> list[Claim]:
    """Compare with both."""
    section = "The authors' own programs"
    run = lab.run("one head of 128 keys", "spatten-rtl", ANCHOR)
    claims = [
        Claim(
            section=section,
            quantity="spatten-rtl: one head of 128 keys and values, 8 bit",
            unit="cycles",
            published=WAVEFORM_CYCLES,
            ours=run.row["cycles"],
            inputs="published",
            source="waveform of the released RTL, committed in a public fork of it",
        )
    ]
    for tokens, cycles in CPP_CYCLES.items():
        row = lab.run(f"bert-base {tokens} dense", "spatten").row
        claims.append(
            Claim(
                section=section,
                quantity=f"spatten: BERT-Base, {tokens} tokens, nothing pruned",
                unit="cycles",
                published=cycles,
                ours=row["cycles"],
                inputs="synthetic",
                assumed="their model adds the DRAM's time to the arrays', ours overlaps them",
                source="bert.cpp of the release, compiled and run",
            )
        )
    return claims
