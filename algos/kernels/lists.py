"""Check lists of ids that kernels gather by.

Kernels do not check ids: one out of range reads or writes other memory, and one out of order is a
wrong result. Lists in the host's memory are checked before a launch; those on a device are not, for
that would wait for the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def check_ids(thing: str, ids: Tensor, below: int) -> None:
    """Raise InputError unless ids (..., n) are 0 to below a limit, and ascend without equals.

    Args:
        thing: what a sentence calls the ids.
        ids: not checked unless in the host's memory.
        below: the limit.
    """
    if ids.device.type != "cpu" or not ids.numel():
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= below:
        raise InputError(f"{thing} must be 0 to {below - 1}, not {low if low < 0 else high}")
    steps = ids.diff(dim=-1)
    if (steps <= 0).any():
        place = (steps <= 0).nonzero()[0].tolist()
        row = ids[tuple(place[:-1])]
        before, after = row[place[-1]], row[place[-1] + 1]
        raise InputError(f"{thing} must ascend without equals, {after} follows {before}")
