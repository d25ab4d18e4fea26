"""From a run of a decoder machine to the flat row and long tables of a result."""

from __future__ import annotations
