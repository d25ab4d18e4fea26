"""The inner loops of the block-sparse product, as vector instructions.

Numba vectorises a loop only where it can show that arrays do not overlap, and keeps no block of
results in registers; so these loops are given to its compiler as vectors. LLVM makes of them what
the CPU has: 16 lanes are one register of AVX-512, two of AVX, four of SSE or NEON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from algos.kernels.cpu.blocks import ROWS

_F32, _I32 = ir.FloatType(), ir.IntType(32)
_UNROLLED = 4  # blocks of one token whose sums do not wait for one another


def block_product(lanes: int, vectors: int) -> Any:
    """Return a function that multiplies one block row with `vectors` x `lanes` tokens.

    It takes addresses: of values (blocks, 4), of columns (blocks,), of the first token's
    activation of input 0, of its result of output 0; then the number of blocks, and the bytes from
    one input's activations to the next, which are those from one output's results to the next.
    """

    def emit(
        code: _Code, values: Any, columns: Any, inputs: Any, outputs: Any, blocks: Any
    ) -> None:
        places = [(row, place) for row in range(ROWS) for place in range(vectors)]
        sums = {key: code.zeros(lanes) for key in places}
        with cgutils.for_range(code.builder, blocks) as loop:
            first = code.activation(inputs, columns, loop.index)
            tokens = [code.load(first, 4 * lanes * place, lanes) for place in range(vectors)]
            block = code.at(values, loop.index, 4 * ROWS)
            for row in range(ROWS):
                weight = code.spread(code.load(block, 4 * row), lanes)
                for place in range(vectors):
                    code.multiply_add(sums[row, place], weight, tokens[place])
        for row, place in places:
            code.store(sums[row, place], code.at(outputs, row, code.stride), 4 * lanes * place)

    return _function(emit)


def token_product() -> Any:
    """Return a function that multiplies one block row with one token; arguments are the same.

    The results are one vector of 4, which the caller spreads where outputs are not neighbours.
    """

    def emit(
        code: _Code, values: Any, columns: Any, inputs: Any, outputs: Any, blocks: Any
    ) -> None:
        sums = [code.zeros(ROWS) for _ in range(_UNROLLED)]
        builder = code.builder
        rounds = builder.udiv(blocks, code.number(_UNROLLED))
        whole = builder.mul(rounds, code.number(_UNROLLED))

        def add(index: Any, total: Any) -> None:
            token = code.spread(code.load(code.activation(inputs, columns, index), 0), ROWS)
            code.multiply_add(total, code.load(code.at(values, index, 4 * ROWS), 0, ROWS), token)

        with cgutils.for_range(builder, rounds) as loop:
            start = builder.mul(loop.index, code.number(_UNROLLED))
            for k, total in enumerate(sums):
                add(builder.add(start, code.number(k)), total)
        with cgutils.for_range(builder, builder.sub(blocks, whole)) as loop:
            add(builder.add(whole, loop.index), sums[0])
        total = builder.load(sums[0])
        for other in sums[1:]:
            total = builder.fadd(total, builder.load(other))
        builder.store(total, sums[0])
        code.store(sums[0], outputs, 0)

    return _function(emit)


def _function(emit: Callable[..., None]) -> Any:
    """Return what numba calls: six addresses and numbers in, nothing out."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *rest, stride = arguments
        emit(_Code(builder, stride), *rest)
        return context.get_dummy_value()

    @intrinsic
    def product(
        typing: Any, values: Any, columns: Any, inputs: Any, outputs: Any, blocks: Any, stride: Any
    ) -> Any:
        return types.void(*[types.uintp] * 6), codegen

    return product


class _Code:
    """Writes instructions; addresses are integers, sums are variables that become registers."""

    def __init__(self, builder: Any, stride: Any) -> None:
        self.builder, self.stride = builder, stride

    def number(self, value: int) -> Any:
        return ir.Constant(self.stride.type, value)

    def at(self, base: Any, index: Any, size: Any) -> Any:
        """Return base + index x size; each may be a number."""
        index = self.number(index) if isinstance(index, int) else index
        size = self.number(size) if isinstance(size, int) else size
        return self.builder.add(base, self.builder.mul(index, size))

    def activation(self, inputs: Any, columns: Any, index: Any) -> Any:
        """Return the address of the activations of a block's input."""
        place = self.builder.inttoptr(self.at(columns, index, 4), _I32.as_pointer())
        column = self.builder.zext(self.builder.load(place, align=4), self.stride.type)
        return self.at(inputs, column, self.stride)

    def load(self, address: Any, offset: int, lanes: int = 1) -> Any:
        kind = _vector(lanes) if lanes > 1 else _F32
        place = self.builder.add(address, self.number(offset))
        return self.builder.load(self.builder.inttoptr(place, kind.as_pointer()), align=4)

    def store(self, variable: Any, address: Any, offset: int) -> None:
        value = self.builder.load(variable)
        place = self.builder.add(address, self.number(offset))
        self.builder.store(value, self.builder.inttoptr(place, value.type.as_pointer()), align=4)

    def zeros(self, lanes: int) -> Any:
        allocate: Any = cgutils.alloca_once_value
        return allocate(self.builder, ir.Constant(_vector(lanes), None))

    def spread(self, value: Any, lanes: int) -> Any:
        """Return a vector with the same value in every lane."""
        empty = ir.Constant(_vector(lanes), ir.Undefined)
        one = self.builder.insert_element(empty, value, ir.Constant(_I32, 0))
        first = ir.Constant(ir.VectorType(_I32, lanes), None)
        return self.builder.shuffle_vector(one, empty, first)

    def multiply_add(self, variable: Any, a: Any, b: Any) -> None:
        """Add a x b to a variable, rounded once."""
        insert: Any = cgutils.get_or_insert_function
        kind = ir.FunctionType(a.type, [a.type] * 3)
        fma = insert(self.builder.module, kind, f"llvm.fma.v{a.type.count}f32")
        total = self.builder.call(fma, [a, b, self.builder.load(variable)])
        self.builder.store(total, variable)


def _vector(lanes: int) -> Any:
    return ir.VectorType(_F32, lanes)
