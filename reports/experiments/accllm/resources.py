"""What the engine's hardware takes on UltraScale+, by Yosys, beside the published totals."""

from __future__ import annotations

from typing import Any

from reports.blocks import read_record
from reports.experiments.claim import Claim
from reports.experiments.lab import Lab

PSEUDO_CHANNELS = 32
PUBLISHED_DSP, PUBLISHED_LUT = 4497, 420_000
_SECTION = "Resources of the engine's RTL on UltraScale+ (Yosys)"
_SOURCE = "AccLLM, arXiv 2505.03745, table of FPGA accelerators, as later papers quote it"
_PRODUCTS = 2  # of a packed DSP slice in a cycle
_NOT_BUILT = (
    "one pseudo-channel's share x 32; not built: the second array for tiles of tokens, nonlinear "
    "unit, weight and KV buffers, HBM interface, host; Yosys places nothing and retimes nothing"
)


def resources(lab: Lab) -> list[Claim]:
    """Compare the packed multiply-accumulate and 32 engine slices with what was published."""
    del lab  # nothing is simulated
    record = read_record()
    modes = record["packed_mac"]["variants"]
    slice_ = record["w2a8kv4"]["variants"][0]["fpga"]
    claims = [
        Claim(
            section=_SECTION,
            quantity="a packed multiply-accumulate of any mode is one DSP48E2",
            unit="DSP48E2",
            ours=max(_fpga(mode)["dsp48e2"] for mode in modes),
            holds=all(_fpga(mode)["dsp48e2"] == 1 for mode in modes),
            inputs="measured",
            assumed="the primitive is instantiated: Yosys moves neither pre-adder nor accumulator "
            "into it",
            source="AccLLM, arXiv 2505.03745, packing of (A + D) x B",
        )
    ]
    claims += [
        Claim(
            section=_SECTION,
            quantity=f"LUT around the DSP48E2 for each product, mode {mode['size']['mode']}",
            unit="LUT",
            ours=_fpga(mode)["lut"] / _PRODUCTS,
            inputs="measured",
            assumed="a packed multiply-accumulate built for this mode alone; half a DSP48E2 a "
            "product",
            source="no published value",
        )
        for mode in modes
    ]
    return [
        *claims,
        _total("DSP48E2 of 32 slices of 64", PUBLISHED_DSP, slice_["dsp48e2"], "DSP48E2"),
        _total("LUT of 32 slices of 64", PUBLISHED_LUT, slice_["lut"], "LUT"),
    ]


def _fpga(variant: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = variant["fpga"]
    return found


def _total(quantity: str, published: float, of_slice: float, unit: str) -> Claim:
    return Claim(
        section=_SECTION,
        quantity=quantity,
        unit=unit,
        published=published,
        ours=PSEUDO_CHANNELS * of_slice,
        inputs="measured",
        assumed=_NOT_BUILT,
        source=_SOURCE,
    )
