"""Tokens a second and a joule by context, and the comparison with FlightLLM."""

from __future__ import annotations

from reports.experiments.accllm.workloads import (
    CONTEXTS,
    RIVAL,
    RIVAL_NOTE,
    TRACE_NOTE,
    USUAL,
    rate,
    step,
    token_s,
)
from reports.experiments.claim import Claim
from reports.experiments.lab import Lab

PUBLISHED_RATE, POWER_W, PUBLISHED_EFFICIENCY = 164.0, 33.0, 4.96
RIVAL_RATE, RIVAL_POWER_W = 55.0, 45.0
_PAPER = "AccLLM, arXiv 2505.03745, table of FPGA accelerators"
_ABSTRACT = "AccLLM, abstract"
_RIVAL_PAPER = "FlightLLM, arXiv 2401.03868, figure 1"
_BOARD = "re-run of FlightLLM's released bitstream on a U280"
_POWER_NOTE = (
    "the published 33 W are taken: no energy of a DSP48E2, BRAM or URAM access is published"
)
SHARED = {"weight_channels": 32}


def decoding(lab: Lab) -> list[Claim]:
    """Compare with 164 token/s and 4.96 token/J; show every context with and without window."""
    section = "Decoding"
    claims = [
        Claim(
            section=section,
            quantity=f"decoding at {keys:,} keys",
            unit="token/s",
            published=PUBLISHED_RATE,
            ours=rate(lab, step(keys)),
            inputs="synthetic",
            assumed="the published value is a cycle-accurate simulation too, its context is not "
            f"stated; {TRACE_NOTE}",
            source=_PAPER,
        )
        for keys in (512, USUAL)
    ]
    claims.append(
        Claim(
            section=section,
            quantity=f"energy efficiency at {USUAL:,} keys",
            unit="token/J",
            published=PUBLISHED_EFFICIENCY,
            ours=rate(lab, step(USUAL)) / POWER_W,
            inputs="synthetic",
            assumed=_POWER_NOTE,
            source=_PAPER,
        )
    )
    flat = [rate(lab, step(keys)) for keys in CONTEXTS if keys >= 2048]
    claims.append(
        Claim(
            section=section,
            quantity="beyond the window of 2,048 keys the rate is the same within 1 %",
            unit="largest over smallest",
            ours=max(flat) / min(flat),
            holds=max(flat) < 1.01 * min(flat),
            inputs="synthetic",
            source="AccLLM, section on the window: the length of the KV cache is pinned",
        )
    )
    for keys in CONTEXTS:
        for window in (True, False):
            claims.append(_shown(lab, section, keys, window))
    return [*claims, *_energy(lab, section)]


def _shown(lab: Lab, section: str, keys: int, window: bool) -> Claim:
    """Show one point; a cache that 8 pseudo-channels do not hold is spread over all 32."""
    spread = keys > 8192 and not window
    where = "; the cache does not fit 8 pseudo-channels: weight_channels=32" if spread else ""
    return Claim(
        section=section,
        quantity=f"{keys:,} keys, " + ("window" if window else "all keys"),
        unit="token/s",
        ours=rate(lab, step(keys, window=window), settings=SHARED if spread else None),
        inputs="synthetic",
        assumed=TRACE_NOTE.replace(", window of 4 + 2044 tokens", "") + where,
        source="no published value",
    )


def _energy(lab: Lab, section: str) -> list[Claim]:
    row = lab.run(step(USUAL), "accllm-u280").row
    rows = [
        ("power of the HBM alone", "W", row["power_w"]),
        ("energy of the HBM alone", "mJ/token", row["energy_pj"] * 1e-9),
        ("published power x our time", "mJ/token", POWER_W * token_s(lab, step(USUAL)) * 1e3),
    ]
    return [
        Claim(
            section=section,
            quantity=f"{name}, {USUAL:,} keys",
            unit=unit,
            ours=float(ours),
            inputs="synthetic",
            assumed="counted events times O'Connor et al. (MICRO 2017)" if "HBM" in name else "",
            source="no published value",
        )
        for name, unit, ours in rows
    ]


def comparison(lab: Lab) -> list[Claim]:
    """Compare with FlightLLM: its own rates, and 2.98 and 4.07 times."""
    section = "Against FlightLLM"
    rates = {keys: rate(lab, f"flightllm {keys}", RIVAL) for keys in (128, 512)}
    gain = rate(lab, step(512)) / rates[512]
    rows = [
        ("flightllm-u280 at 128 keys", "token/s", 57.1, rates[128], RIVAL_NOTE, _BOARD),
        ("flightllm-u280 at 512 keys", "token/s", 52.7, rates[512], RIVAL_NOTE, _BOARD),
        ("flightllm-u280 as its paper has it", "token/s", RIVAL_RATE, rates[512],
         f"about 55, context not stated; 512 keys; {RIVAL_NOTE}", _RIVAL_PAPER),
        *(
            (f"four cores, prefill of {tokens} tokens", "ms", published,
             lab.run(f"flightllm prefill {tokens}", RIVAL, {"cores": 4}).row["latency_ns"] * 1e-6,
             "flightllm-u280 with four cores, as on a VHK158: bound by the multipliers, the other "
             "card's memory does not matter", "FlightLLM's released profile of a VHK158")
            for tokens, published in ((128, 289.9), (512, 1181.4))
        ),
        ("throughput of accllm-u280 over flightllm-u280", "times", 2.98, gain,
         "both at 512 keys, both simulated; the paper compares its simulation with FlightLLM's "
         "published board figure", _ABSTRACT),
        ("energy efficiency of accllm-u280 over flightllm-u280", "times", 4.07,
         gain * RIVAL_POWER_W / POWER_W, "published powers, 33 W and about 45 W", _ABSTRACT),
    ]  # fmt: skip
    return [
        Claim(
            section=section,
            quantity=quantity,
            unit=unit,
            published=published,
            ours=ours,
            inputs="synthetic",
            assumed=note,
            source=source,
        )
        for quantity, unit, published, ours, note, source in rows
    ]
