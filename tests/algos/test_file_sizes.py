"""One short file a method."""

from __future__ import annotations

import importlib
import inspect

import pytest

from algos import METHODS

MOST = 120  # lines
MODULES = sorted({kind.__module__ for kind in METHODS.values()})


@pytest.mark.parametrize("name", MODULES)
def test_a_method_is_one_short_file(name: str) -> None:
    lines = len(inspect.getsource(importlib.import_module(name)).splitlines())
    assert lines <= MOST
