from __future__ import annotations

from typing import Any

import pytest

from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.spec import DramSpec
from sim.units import GB, GIB
from workloads.errors import InputError


def test_spatten_memory_is_the_papers() -> None:
    assert HBM2_2GBPS.peak_bytes_per_s == 512 * GB  # HPCA 2021, table I
    assert HBM2_2GBPS.capacity_bytes == 32 * GIB
    assert HBM2_2GBPS.read_latency_cycles == 16
    assert HBM2_2GBPS.ideal_name == ""


def test_every_field_is_documented() -> None:
    assert all(field.description for field in DramSpec.model_fields.values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 8}, r"^Dram mapping must give channel bits for 8 of them, not 4 bits$"),
        ({"rows": 100}, r"^Dram mapping must give row bits for 100 of them, not 16 bits$"),
        ({"n_refi": "400"}, r"^Dram n_refi must be more than 418, not 400$"),
        ({"ranks": 2}, r"^Dram mapping must give rank bits for 2 of them, not 0 bits$"),
        (
            {"ranks": 2, "mapping": (*HBM2_2GBPS.mapping, ("rank", 1))},
            r"^Dram ranks must be 1 beside 2 pseudo-channels, not 2$",
        ),
        ({"xor": ("bank", "column")}, r"^Dram xor must be different fields without column, not b"),
        ({"xor": ("bank", "bank")}, r"^Dram xor must be different fields .*, not bank, bank$"),
        ({"command_buses": 3}, r"^DramSpec command_buses must be less than or equal to 2, not 3$"),
        ({"n_cl": 0}, r"^DramSpec n_cl must be greater than 0, not 0$"),
        ({"n_cas": 3}, r"^field of DramSpec must be one of name, channels, .*, not 'n_cas'"),
    ],
)
def test_impossible_devices_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        HBM2_2GBPS.override(changes)
