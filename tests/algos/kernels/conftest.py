"""Kernels run in Triton's interpreter here; what is compiled, is compiled in another process."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
