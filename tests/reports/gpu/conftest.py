"""Rows as a bench would write them, with plausible numbers."""

from __future__ import annotations

from typing import Any

import pytest

SHARES = (0.0, 0.25, 0.5, 0.75)


def row(kernel: str, share: float | None, median_ns: float, **facts: Any) -> dict[str, Any]:
    """Return a measured row of a made-up sparse kernel, or of its control."""
    sparse = kernel == "halved"
    known = {
        "key": f"{kernel} {share}",
        "status": "measured",
        "reason": "",
        "label": "measured:h100",
        "kernel": kernel,
        "shape": "llama",
        "size": '{"keys":4096}' if share is None else f'{{"keys":{4096 * (1 - share):g}}}',
        "share": share,
        "implementation": "prunesim",
        "beside": False,
        "control": "dense-prefill" if sparse else None,
        "control_size": '{"keys":4096}' if sparse else None,
        "median_ns": median_ns,
        "p10_ns": median_ns * 0.98,
        "p90_ns": median_ns * 1.05,
        "copy_share": 0.61,
        "matmul_share": 0.42,
        "energy_pj": 2e10,
    }
    return {**known, **facts}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Return a control of 100 us and a kernel of 140 us that shrinks with what is left out."""
    return [
        row("dense-prefill", None, 100_000.0),
        row("dense-prefill", None, 95_000.0, implementation="torch SDPA", key="torch", beside=True),
        row("halved", None, 70_000.0),
        *(row("halved", share, 140_000.0 * (1 - share)) for share in SHARES),
    ]
