"""What a trace becomes: keys, bands and operators, against plain counting."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.machines.decoder.attention import band_of, causal_scores, tokens_read


def seen(query, before, window, sinks):
    """Return the keys that a query of a prefill sees."""
    own = before + query
    if not window:
        return set(range(own + 1))
    return set(range(min(sinks, own + 1))) | set(range(max(own - (window - sinks) + 1, 0), own + 1))


cases = st.tuples(
    st.integers(1, 300), st.integers(0, 200), st.sampled_from([0, 40, 100]), st.integers(0, 9)
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_scores_and_bands_are_those_of_the_mask(case):
    queries, before, window, sinks = case
    keys = before + queries
    masks = [seen(query, before, window, sinks) for query in range(queries)]
    one = np.array([queries]), np.array([keys]), np.array([window])
    assert causal_scores(*one).tolist() == [sum(map(len, masks))]
    read = 0
    for tile in range(-(-queries // 64)):
        band = band_of(queries, keys, window, sinks, 64, tile)
        rows = range(tile * 64, min(tile * 64 + 64, queries))
        blocks = {key // 64 for query in rows for key in masks[query]}
        assert band.tokens == len(rows)
        assert band.blocks == len(blocks)
        own = {(before + query) // 64 for query in rows}
        assert band.blocks - band.read == len(own)
        read += band.read * 64
    assert tokens_read(queries, keys, window, sinks, 64) == read
    assert band_of(queries, keys, window, sinks, 64, -(-queries // 64)) is None
