from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.dram import kernel
from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.mapping import MAPPINGS, chrabaroco, mop4clxor, remap, robaracoch
from sim.dram.model import Dram
from sim.dram.spec import AddressField, DramSpec
from workloads.errors import InputError

SIZES: dict[AddressField, int] = {
    "channel": 8,
    "pseudo_channel": 2,
    "bank_group": 4,
    "bank": 4,
    "column": 32,
    "row": 64,
}


def test_robaracoch_takes_the_column_first() -> None:
    assert robaracoch(SIZES) == (
        (
            ("channel", 3),
            ("column", 5),
            ("pseudo_channel", 1),
            ("bank_group", 2),
            ("bank", 2),
            ("row", 6),
        ),
        (),
    )


def test_mop4clxor_splits_the_column() -> None:
    assert mop4clxor({"rank": 2, "bank_group": 4, "bank": 4, "column": 128, "row": 64}) == (
        (("column", 2), ("rank", 1), ("bank_group", 2), ("bank", 2), ("column", 5), ("row", 6)),
        ("rank", "bank_group", "bank", "row"),
    )


def test_mop4clxor_of_four_columns_has_no_rest() -> None:
    assert mop4clxor({"bank": 2, "column": 4, "row": 2}).mapping == (
        ("column", 2),
        ("bank", 1),
        ("row", 1),
    )


def test_chrabaroco_takes_the_channel_last() -> None:
    assert chrabaroco(SIZES) == (
        (
            ("column", 5),
            ("row", 6),
            ("bank", 2),
            ("bank_group", 2),
            ("pseudo_channel", 1),
            ("channel", 3),
        ),
        (),
    )


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(
    "spec",
    [
        HBM2_2GBPS.override({"rows": 4, "mapping": (*HBM2_2GBPS.mapping[:-1], ("row", 2))}),
        remap(DDR4_2400R, "robaracoch", channels=4, ranks=2, rows=8),
    ],
    ids=lambda spec: spec.name,
)
def test_every_mapping_is_one_to_one(spec: DramSpec, mapping: str) -> None:
    mapped = remap(spec, mapping)
    places = np.empty((4, mapped.transactions), np.int64)
    kernel.locate_all(np.arange(mapped.transactions), Dram(mapped)._mapping, places)
    counts = (mapped.channels, mapped.banks_per_channel, mapped.rows, mapped.columns)
    flat = np.ravel_multi_index(tuple(places), counts)
    assert (np.bincount(flat, minlength=mapped.transactions) == 1).all()


def test_remap_changes_other_fields_too() -> None:
    spec = remap(DDR4_2400R, "chrabaroco", channels=2, ranks=4, name="wide")
    assert (spec.channels, spec.ranks, spec.name) == (2, 4, "wide")
    assert spec.mapping[-2:] == (("rank", 2), ("channel", 1))


@pytest.mark.parametrize(
    ("mapping", "changes", "sentence"),
    [
        (
            "robarococh",
            {},
            r"^DRAM mapping must be one of robaracoch, mop4clxor, chrabaroco, "
            r"not 'robarococh' \(did you mean 'robaracoch'\?\)$",
        ),
        ("robaracoch", {"rows": 100}, r"^DRAM rows must be a power of 2 for a mapping, not 100$"),
        ("mop4clxor", {"columns": 2}, r"^mop4clxor columns must be at least 4, not 2$"),
        ("chrabaroco", {"pseudo_channels": 0}, r"^DRAM pseudo_channels must be a power of 2"),
    ],
)
def test_impossible_mappings_are_refused(
    mapping: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        remap(HBM2_2GBPS, mapping, **changes)
