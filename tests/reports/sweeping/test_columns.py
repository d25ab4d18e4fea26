"""Values of axes as people read them."""

from __future__ import annotations

import pytest

from reports.sweeping.columns import value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "true"), (0.1 + 0.2, "0.3"), (16, "16"), ("2:4", "2:4"), ("", "(empty)")],
)
def test_a_value_is_never_blank(value: object, text: str) -> None:
    assert value_text(value) == text
