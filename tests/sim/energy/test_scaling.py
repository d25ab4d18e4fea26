from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.energy.scaling import scale_area, scale_node
from workloads.errors import InputError


@pytest.mark.parametrize(
    ("nm", "volts", "ratio"),
    [  # energy relative to 45 nm at 0.9 V
        (65, 1.1, 1.99),
        (40, 0.9, 0.86),
        (40, 1.1, 1.23),
        (32, 0.9, 0.64),
        (28, 0.9, 0.51),
        (22, 0.9, 0.31),
        (22, 0.8, 0.24),
        (16, 0.8, 0.14),
        (14, 0.8, 0.11),
    ],
)
def test_quoted_ratios(nm: float, volts: float, ratio: float) -> None:
    assert scale_node(1.0, 45, nm, to_volts=volts) == pytest.approx(ratio, abs=0.006)


@given(st.floats(7, 65), st.floats(7, 65), st.floats(0.7, 1.2), st.floats(0.7, 1.2))
def test_scaling_there_and_back_is_nothing(a: float, b: float, va: float, vb: float) -> None:
    assert scale_node(3.0, a, a) == pytest.approx(3.0)
    there = scale_node(3.0, a, b, from_volts=va, to_volts=vb)
    assert scale_node(there, b, a, from_volts=vb, to_volts=va) == pytest.approx(3.0)


def test_smaller_is_cheaper() -> None:
    energies = [scale_node(1.0, 45, nm) for nm in (65, 45, 40, 32, 28, 22, 16, 14, 10, 7)]
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("nm", [5, 90])
def test_unknown_nodes_are_refused(nm: float) -> None:
    with pytest.raises(InputError, match=rf"^technology node must be in 7\.\.65 nm, not {nm}$"):
        scale_node(1.0, 45, nm)


def test_area_is_one_at_its_own_node_and_linear_between():
    assert scale_area(2.0, 45, 45) == 2.0
    assert scale_area(1.0, 45, 65) == pytest.approx(1.5)
    assert scale_area(1.0, 45, 40) == pytest.approx(1 - 5 / 13 * (1 - 0.46))
    assert scale_area(scale_area(1.0, 40, 16), 16, 40) == pytest.approx(1.0)


def test_area_of_an_unknown_node_is_refused():
    with pytest.raises(InputError, match=r"^technology node must be in 7..65 nm, not 5$"):
        scale_area(1.0, 5, 45)
