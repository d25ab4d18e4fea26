"""Devices: units of their constants, and the peaks of their data sheets."""

from __future__ import annotations

import pytest

from sim.gpu.curves import DEFAULT, dram_gbps
from sim.gpu.devices import DEVICES, Device, make_device
from workloads.errors import InputError

PEAKS = [
    ("a100", "tensor_fp16", 312),
    ("a100", "tensor_int8", 624),
    ("a100", "fp32", 19.5),
    ("h100", "tensor_fp16", 989),
    ("h100", "tensor_int8", 1979),
    ("v100", "tensor_fp16", 125),
    ("v100", "fp32", 15.7),
    ("titan-xp", "fp32", 12.15),
    ("titan-xp", "tensor_int8", 48.6),
    ("titan-xp", "tensor_fp16", 0),
    ("rtx-4090", "tensor_fp16", 165),
    ("b200", "tensor_fp16", 2250),
]


@pytest.mark.parametrize(("name", "pipe", "tera"), PEAKS)
def test_rates_give_the_peaks_of_data_sheets(name: str, pipe: str, tera: float) -> None:
    assert make_device(name).peak(pipe) / 1e12 == pytest.approx(tera, rel=0.01)


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_constants_have_their_units_and_sources(device: Device) -> None:
    assert 1e9 < device.clock_hz < 3e9
    assert 100 < device.l2_ns < device.dram_ns < 1000
    assert 1000 <= device.graph_ns < device.launch_ns < 10_000
    assert 0.8 * device.dram_gbps < dram_gbps(DEFAULT, device) < device.dram_gbps
    assert device.dram_gbps < device.l2_gbps
    assert device.sources


def test_unknown_device_names_the_nearest() -> None:
    with pytest.raises(InputError, match="h100"):
        make_device("h10")
