"""Bytes of a token, HBM efficiency, and the prefill."""

from __future__ import annotations

from reports.experiments.accllm.decoding import SHARED
from reports.experiments.accllm.workloads import (
    LLAMA,
    MACHINE,
    PROMPTS,
    TRACE_NOTE,
    USUAL,
    rate,
    step,
)
from reports.experiments.claim import Claim
from reports.experiments.lab import Lab, Settings
from sim.machines import make_machine
from sim.machines.accllm import AccLlm
from sim.units import GB, GIB
from workloads.packed import KvFormat

_CONTEXT, _WINDOW = 7168, 2048
LAYOUTS: dict[str, Settings] = {
    "2-bit index, 64 inputs a group, FP16 scale, 2-bit zero": {},
    "FP16 zero point": {"weights.zero_bits": 16},
    "64 kept weights a group": {"weights.group_of": "kept"},
    "3 bits a pattern": {"weights.index": "pattern"},
    "3 bits a pattern, 64 kept a group": {"weights.index": "pattern", "weights.group_of": "kept"},
}
_META = {"FP16 zero point": 32}


def weight_bytes(name: str) -> int:
    """Return the bytes of the linear layers of a token by arithmetic, for a layout's name."""
    sizes = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]
    kept = 32 * sum(rows * columns for rows, columns in sizes) // 2
    index = kept // 2 * 3 if "pattern" in name else 2 * kept
    groups = kept // (64 if "kept" in name else 32)
    return (2 * kept + index + groups * _META.get(name, 18)) // 8


def traffic(lab: Lab) -> list[Claim]:
    """Compare bytes of a token with arithmetic for each layout, and with the published cache."""
    section = "Memory traffic of a token"
    claims = []
    for name, settings in LAYOUTS.items():
        rows = lab.run(step(USUAL), MACHINE, settings).tables["traffic"].set_index("tensor")
        useful, moved = (int(rows.loc["W", f"{kind}_bytes"]) for kind in ("useful", "transferred"))
        claims.append(
            Claim(
                section=section,
                quantity=f"linear layers, {name}: equal to the arithmetic",
                unit="GB",
                ours=useful / GB,
                holds=useful == weight_bytes(name),
                inputs="synthetic",
                assumed=f"{moved / GB:.3f} GB move: filling beats costs "
                f"{100 * (moved / useful - 1):.2f} %",
                source="codes, indices, scales and zero points of 3.24e9 kept weights",
            )
        )
    return [*claims, *_cache(lab, section)]


def _cache(lab: Lab, section: str) -> list[Claim]:
    fp16, low = KvFormat(bits=16), KvFormat()
    rows = [
        (f"KV cache of {_CONTEXT:,} tokens, FP16", 3.5, _CONTEXT * fp16.token_bytes(LLAMA), ""),
        (f"the same in the window of {_WINDOW:,}", 1.0, _WINDOW * fp16.token_bytes(LLAMA), ""),
        ("the same in 4 bits", 0.25, _read(lab, _CONTEXT, window=True),
         "as the machine reads it, with scales and zero points"),
    ]  # fmt: skip
    claims = [
        Claim(
            section=section,
            quantity=quantity,
            unit="GiB",
            published=published,
            ours=ours / GIB,
            inputs="synthetic",
            assumed=note,
            source="AccLLM, arXiv 2505.03745, results: window and KV4",
        )
        for quantity, published, ours, note in rows
    ]
    for keys in (128, USUAL, _CONTEXT):
        for window in (True, False):
            expected = (min(keys, _WINDOW) if window else keys) * low.token_bytes(LLAMA)
            read = _read(lab, keys, window=window)
            claims.append(
                Claim(
                    section=section,
                    quantity=f"K and V at {keys:,} keys, {'window' if window else 'all keys'}: "
                    "equal to the arithmetic",
                    unit="GB",
                    ours=read / GB,
                    holds=read == expected,
                    inputs="synthetic",
                    source="136,192 B of codes, scales and zero points a token",
                )
            )
    return claims


def _read(lab: Lab, keys: int, *, window: bool) -> int:
    rows = lab.run(step(keys, window=window), MACHINE).tables["traffic"].set_index("tensor")
    return int(rows.loc[["K", "V"], "useful_bytes"].sum())


def efficiency(lab: Lab) -> list[Claim]:
    """Compare the DRAM model with the measured bandwidth; say what the channel map does."""
    section = "HBM"
    machine = make_machine(MACHINE)
    assert isinstance(machine, AccLlm)
    peak = machine.dram.peak_bytes_per_s / GB
    design = machine.design
    share = design.weight_channels / 32
    rows: list[tuple[str, str, float | None, float, str, str]] = [
        ("sequential reads from all pseudo-channels", "GB/s", 425.0,
         peak * design.weights.efficiency, "the DRAM model, not fitted: refresh takes 6.7 %",
         "Shuhai, arXiv 2005.04324, measured on a U280"),
        ("share of a pseudo-channel's peak: weights", "", None, design.weights.efficiency, "", ""),
        ("share of a pseudo-channel's peak: KV blocks", "", None, design.kv.efficiency, "", ""),
        ("share of the card's peak that weights can have", "", None,
         share * design.weights.efficiency,
         "24 of 32 pseudo-channels hold weights; 164 token/s need 0.73 to 0.75 of the peak with "
         "all bytes in one stream", ""),
        ("weights and cache on all 32 pseudo-channels", "token/s", None,
         rate(lab, step(USUAL), settings=SHARED), "the other channel map", ""),
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
            source=source or "no published value",
        )
        for quantity, unit, published, ours, note, source in rows
    ]


def prefill(lab: Lab) -> list[Claim]:
    """Compare the prefill with the published 2 to 4 times the decoding rate."""
    section = "Prefill"
    claims = []
    for tokens in PROMPTS:
        row = lab.run(f"prefill {tokens}", MACHINE).row
        speed = tokens / (row["latency_ns"] * 1e-9)
        times = speed / rate(lab, step(USUAL))
        claims.append(
            Claim(
                section=section,
                quantity=f"prompt of {tokens:,} tokens: 2 to 4 times the decoding rate",
                unit="times",
                ours=times,
                holds=2 <= times <= 4,
                inputs="synthetic",
                assumed=f"{speed:.0f} token/s, {row['latency_ns'] * 1e-6:,.0f} ms; {TRACE_NOTE}",
                source="AccLLM as tabulated in Hummingbird+ (FPGA 2026): 2-4x",
            )
        )
    return claims
