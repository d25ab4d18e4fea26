"""Every block in Verilator: values equal its golden function, cycles its timing model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rtl.build import simulate
from rtl.registry import BLOCKS, Block

# the last size is the small one that every run of the tests builds
_CASES = [
    pytest.param(
        block,
        size,
        id=f"{name}-{position}",
        marks=[pytest.mark.rtl] * (size is not block.sizes[-1]),
    )
    for name, block in BLOCKS.items()
    for position, size in enumerate(block.sizes)
]


@pytest.mark.parametrize(("block", "size"), _CASES)
def test_bench(block: Block, size: Mapping[str, Any], tmp_path: Path) -> None:
    outcomes = simulate(block, block.make_config(size), tmp_path)
    assert outcomes
    assert not [outcome for outcome in outcomes if not outcome.passed]
