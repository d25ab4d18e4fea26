from __future__ import annotations

import pytest

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.presets import PRESETS, preset
from sim.units import GIB
from workloads.errors import InputError


def test_presets_are_named_after_themselves() -> None:
    assert all(name == spec.name == preset(name).name for name, spec in PRESETS.items())


def test_an_unknown_preset_is_refused() -> None:
    sentence = r"^DRAM preset must be one of hbm2-2gbps, .*, not 'ddr4-2400' \(did you mean"
    with pytest.raises(InputError, match=sentence):
        preset("ddr4-2400")


def test_ddr4_is_a_channel_of_2400() -> None:
    assert DDR4_2400R.peak_bytes_per_s == pytest.approx(19.2e9, rel=0.001)  # 8 B x 2.4 GHz
    assert DDR4_2400R.capacity_bytes == 8 * GIB  # eight chips of 8 Gb
    assert DDR4_2400R.read_latency_cycles == 20
    assert DDR4_2400R.n_refi * DDR4_2400R.t_ck_ns == pytest.approx(7800, rel=0.001)
