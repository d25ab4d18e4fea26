"""Fixtures for all tests: the folder beside the project that holds oracles and traces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported, which torch may do

settings.register_profile("prunesim", deadline=None)  # the first example may compile a kernel
settings.load_profile("prunesim")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference figures; it may not exist: see `shared_files`."""
    given = os.environ.get("PRUNESIM_SHARED")
    return Path(given) if given else ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared_files(shared: Path) -> Callable[[str], list[Path]]:
    """Return a function that lists the shared files of a pattern, or skips the test."""

    def find(pattern: str) -> list[Path]:
        found = sorted(shared.glob(pattern))
        if not found:
            pytest.skip(f"no file {pattern} in {shared}: set PRUNESIM_SHARED to the shared folder")
        return found

    return find
