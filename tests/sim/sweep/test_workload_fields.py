"""Axes over fields of the workload."""

from __future__ import annotations

import pytest

from sim.sweep.point import point_of
from sim.sweep.space import Space
from workloads.errors import InputError


def test_a_field_of_the_workload_belongs_to_the_trace() -> None:
    space = Space.of(
        {
            "workload": "llama-2-7b",
            "set": {"workload.generate": 2},
            "axes": {"workload.context": [64, 128], "machine": ["accllm-u280", "flightllm-u280"]},
        }
    )
    points = [point_of(space, n, chosen) for n, chosen in enumerate(space.assignments())]
    settings = [point.order.workload_settings for point in points]
    assert settings[0] == (("context", 64), ("generate", 2))
    assert settings[0] == settings[1] != settings[2] == settings[3]
    assert points[0].order == points[1].order
    assert not any(point.settings for point in points)


def test_one_axis_sets_workload_and_machine() -> None:
    space = Space.of(
        {"axes": {"kv": {"values": [4, 8], "set": ["workload.kv_bits", "machine.kv.bits"]}}}
    )
    (_, point) = (point_of(space, n, chosen) for n, chosen in enumerate(space.assignments()))
    assert point.order.workload_settings == (("kv_bits", 8),)
    assert point.settings == {"kv.bits": 8}


def test_a_wrong_prefix_is_told() -> None:
    with pytest.raises(InputError, match=r"machine.FIELD, not 'workloads.tokens'"):
        Space.of({"axes": {"workloads.tokens": [1]}})
