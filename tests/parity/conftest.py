"""Outputs of the authors' programs on known inputs; tests skip where the folder is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PRUNESIM_SHARED", ROOT.parent / "shared"))


@pytest.fixture
def parity() -> Callable[[str], dict[str, Any]]:
    """Return a function that loads one file by name as a dictionary of arrays."""

    def load(name: str) -> dict[str, Any]:
        path = SHARED / "parity" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"{path} is not there: the authors' outputs are not part of the project")
        with np.load(path) as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load
