from __future__ import annotations

import numpy as np
import pytest

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS, U280_HBM2
from sim.dram.model import Dram
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


def test_the_u280_has_32_pseudo_channels_of_256_mb() -> None:
    assert U280_HBM2.capacity_bytes == 8 * GIB
    assert U280_HBM2.channels * U280_HBM2.pseudo_channels == 32
    assert U280_HBM2.peak_bytes_per_s == pytest.approx(460.8e9)
    assert U280_HBM2.n_refi * U280_HBM2.t_ck_ns == pytest.approx(3900)
    assert U280_HBM2.n_rfc * U280_HBM2.t_ck_ns == pytest.approx(260)
    names = ("n_cl", "n_rcd", "n_rp", "n_ras", "n_rc", "n_faw")
    for name in names:  # not shorter than the part's nanoseconds, by less than a clock
        ns = getattr(HBM2_2GBPS, name) * HBM2_2GBPS.t_ck_ns
        assert ns <= getattr(U280_HBM2, name) * U280_HBM2.t_ck_ns + 1e-9 < ns + U280_HBM2.t_ck_ns


@pytest.mark.fidelity
def test_a_stream_is_as_fast_as_measured_on_a_u280() -> None:
    """Shuhai (arXiv 2005.04324): 425 GB/s of 460 from all pseudo-channels, sequential reads."""
    one = U280_HBM2.override({"channels": 1, "mapping": U280_HBM2.mapping[:-1]})
    requests = 400_000  # 114 refresh intervals
    half = one.transactions // 2
    addresses = np.arange(requests) // 2 + np.arange(requests) % 2 * half
    done = np.sort(Dram(one).stream(addresses, sends_per_cycle=1).done)
    share = requests * one.n_bl / (done[-1] - done[0]) / one.pseudo_channels
    assert share == pytest.approx(425 / 460, rel=0.02)
