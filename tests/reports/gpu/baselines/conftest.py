"""A small set of workloads, found once."""

from __future__ import annotations

import pytest

from reports.console import Phases
from reports.gpu.baselines import timing
from reports.gpu.baselines.page import Baselines, find
from reports.gpu.baselines.workloads import WORKLOADS

NAMES = ("bert-base-384", "gpt2-medium-1024", "llama-2-7b-1024", "llama-2-7b-4096")
DEVICES = ("a100", "titan-xp")


@pytest.fixture(scope="session")
def found() -> Baselines:
    """Return the baselines of some workloads on two GPUs, neither of which was measured."""
    some = [workload for workload in WORKLOADS if workload.name in NAMES]
    with pytest.MonkeyPatch.context() as patch, Phases(False) as phase:
        patch.setattr(timing, "measured_rows", lambda folder: [])  # whatever was measured since
        return find(DEVICES, phase, some)
