"""Cycles of streams, by hand."""

from sim.blocks.handshake import pipeline_moves


def test_a_pipeline_without_stalls_takes_and_gives_one_item_a_cycle():
    moves = pipeline_moves(4, 3, [], [])
    assert moves.accepted == [0, 1, 2, 3]
    assert moves.emitted == [3, 4, 5, 6]


def test_a_waiting_output_stops_the_pipeline():
    """The first item waits in cycles 2 and 3; nothing enters meanwhile."""
    moves = pipeline_moves(4, 2, [], [True, True, False, False])
    assert moves.accepted == [0, 1, 4, 5]
    assert moves.emitted == [4, 5, 6, 7]


def test_an_empty_stage_is_filled_while_the_output_is_not_valid():
    """A source that pauses leaves a gap, and the pipeline moves on through it."""
    moves = pipeline_moves(2, 2, [True, False, False, True], [])
    assert moves.accepted == [0, 3]
    assert moves.emitted == [2, 5]


def test_an_offer_stays_until_it_is_taken():
    """Offered in cycle 1, when the stage is full and waits; taken in cycle 3."""
    moves = pipeline_moves(2, 1, [True, True, False, False], [True, False, False])
    assert moves.accepted == [0, 3]
    assert moves.emitted == [3, 4]
