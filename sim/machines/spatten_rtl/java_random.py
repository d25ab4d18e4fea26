"""The random numbers of Java's library, which the released test bench draws from."""

from __future__ import annotations

from numba import njit

MULTIPLIER, INCREMENT, MASK = 0x5DEECE66D, 0xB, (1 << 48) - 1
"""The linear congruential generator of java.util.Random, as its documentation states it."""


@njit(cache=True)
def seeded(seed: int) -> int:
    """Return the generator's state for a seed."""
    return (seed ^ MULTIPLIER) & MASK


@njit(cache=True)
def next_int(state: int) -> tuple[int, int]:
    """Return the next state and a signed 32-bit integer."""
    state = (state * MULTIPLIER + INCREMENT) & MASK
    value = state >> 16
    return state, value - (1 << 32) if value >= 1 << 31 else value


@njit(cache=True)
def next_below(state: int, bound: int) -> tuple[int, int]:
    """Return the next state and an integer in 0..bound - 1."""
    while True:
        state = (state * MULTIPLIER + INCREMENT) & MASK
        bits = state >> 17
        if bound & (bound - 1) == 0:
            return state, (bound * bits) >> 31
        value = bits % bound
        if bits - value + (bound - 1) < 1 << 31:
            return state, value
