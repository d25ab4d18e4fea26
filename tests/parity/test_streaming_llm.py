"""StreamingLLM: what the authors' cache keeps, and what it keeps when tokens come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from algos.kv.streaming_llm import sink_recent_mask

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_kept_tokens(parity: Parity) -> None:
    case = parity("streaming_llm")
    n, start, recent = (int(case[name]) for name in ("S", "start", "recent"))
    for key in (key for key in case if key not in ("S", "start", "recent")):
        coming = int(key.removeprefix("evict") or 0) if key.startswith("evict") else 0
        kept = np.flatnonzero(sink_recent_mask(n, start, recent, coming).numpy())
        assert np.array_equal(kept, case[key]), key
