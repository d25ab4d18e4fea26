"""Arguments of CUDA C++ functions, checked and turned into C values."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from algos.kernels.base import Kernel, Program
from workloads.errors import InputError

POINTERS = {
    "*fp16": "float16",
    "*fp32": "float32",
    "*i8": "int8",
    "*u8": "uint8",
    "*i32": "int32",
    "*i64": "int64",
}
ALIGNED_BYTES = 16
"""of every pointer: kernels load vectors of this size"""


def as_c(kernel: Kernel, program: Program, values: Sequence[Any]) -> list[Any]:
    """Return one C value an argument, in order.

    Raises:
        InputError: another number of arguments, or one that is not of its type.
    """
    if len(values) != len(program.arguments):
        raise InputError(
            f"{kernel.name}: {program.function} must have {len(program.arguments)} arguments, "
            f"not {len(values)}"
        )
    pairs = zip(program.arguments.items(), values, strict=True)
    return [_value(f"{kernel.name}: {name}", kind, value) for (name, kind), value in pairs]


def _value(what: str, kind: str, value: Any) -> Any:
    if kind in POINTERS:
        return ctypes.c_void_p(_address(what, POINTERS[kind], value))
    if kind == "fp32":
        return ctypes.c_float(value)
    if kind not in ("i32", "i64"):
        raise InputError(f"{what} must be a pointer, i32, i64 or fp32, not {kind!r}")
    bits = int(kind[1:])
    if not isinstance(value, int) or not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise InputError(f"{what} must be an integer of {bits} bits, not {value!r}")
    return ctypes.c_int32(value) if bits == 32 else ctypes.c_int64(value)


def _address(what: str, wanted: str, tensor: Any) -> int:
    kind = str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")
    if kind != wanted:
        raise InputError(f"{what} must be a tensor of {wanted}, not {kind}")
    if not tensor.is_contiguous():
        raise InputError(f"{what} must be contiguous, it is not")
    address = int(tensor.data_ptr())
    if address % ALIGNED_BYTES:
        raise InputError(
            f"{what} must lie at a multiple of {ALIGNED_BYTES} bytes, not at {address:#x}"
        )
    return address
