"""Kernels run in Triton's interpreter, as `tests/conftest.py` sets it.

What is compiled, is compiled in another process.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
