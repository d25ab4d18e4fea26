"""Rows of several beats in benches."""

from __future__ import annotations

from typing import Any

import numpy as np


def spans(cycles: list[int]) -> bool:
    """Tell whether something moved in every cycle from the first to the last."""
    return cycles[-1] - cycles[0] == len(cycles) - 1


def beats_of(
    elements: np.ndarray[Any, np.dtype[np.int64]], lanes: int, beyond: list[int]
) -> list[dict[str, Any]]:
    """Return the fields of a row's beats; lanes beyond the count hold what is given."""
    parts = [elements[start : start + lanes].tolist() for start in range(0, len(elements), lanes)]
    return [
        {
            "data": part + beyond[len(part) :],
            "count": len(part),
            "last": number == len(parts) - 1,
        }
        for number, part in enumerate(parts)
    ]
