"""Energy and area of logic across technology nodes, energy also across supply voltages."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from workloads.errors import InputError

_COEFFICIENTS = {
    65: (3.755, -4.398, 1.975),
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
"""Node in nm -> (a, b, c) of E(V) = a V^2 + b V + c.  Stillmaker & Baas, Integration 58, 2017."""


def scale_node(
    pj: float,
    from_nm: float,
    to_nm: float,
    *,
    from_volts: float = 0.9,
    to_volts: float = 0.9,
) -> float:
    """Return an operation's energy at another node and supply voltage.

    Stillmaker & Baas's fits, whose ratio is the scaling; between their nodes (40, 28, 22 nm)
    linear in nm.

    Raises:
        InputError: a node outside 7..65 nm.
    """
    return pj * _relative_energy(to_nm, to_volts) / _relative_energy(from_nm, from_volts)


_AREAS = {65: 1.5, 45: 1.0, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.10, 7: 0.059}
"""Node in nm -> area of the same logic, 45 nm being 1.  Stillmaker & Baas, Integration 58, 2017."""


def scale_area(area: float, from_nm: float, to_nm: float) -> float:
    """Return the area of logic at another node, in the unit given; linear in nm between nodes.

    Raises:
        InputError: a node outside 7..65 nm.
    """
    return area * _relative_area(to_nm) / _relative_area(from_nm)


def _relative_area(nm: float) -> float:
    nodes = sorted(_AREAS)
    _check_node(nm, nodes)
    return float(np.interp(nm, nodes, [_AREAS[node] for node in nodes]))


def _check_node(nm: float, nodes: list[int]) -> None:
    if not nodes[0] <= nm <= nodes[-1]:
        raise InputError(f"technology node must be in {nodes[0]}..{nodes[-1]} nm, not {nm}")


@lru_cache
def _relative_energy(nm: float, volts: float) -> float:
    nodes = sorted(_COEFFICIENTS)
    _check_node(nm, nodes)
    energies = [np.polyval(_COEFFICIENTS[node], volts) for node in nodes]
    return float(np.interp(nm, nodes, energies))
