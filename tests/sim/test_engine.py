"""Channels and buffer space between engines."""

import pytest
import simpy

from sim.engine import Channel, Space, wait_until


def test_a_channel_keeps_order_and_holds_its_producer_back():
    env = simpy.Environment()
    channel = Channel(env, 2)
    log = []

    def produce():
        for item in range(4):
            yield from channel.put(item)
            log.append(("put", item, env.now))

    def consume():
        yield env.timeout(10)
        for _ in range(4):
            item = yield from channel.get()
            log.append(("got", item, env.now))
            yield env.timeout(5)

    env.process(produce())
    env.process(consume())
    env.run()
    assert [entry for entry in log if entry[0] == "put"] == [
        ("put", 0, 0),
        ("put", 1, 0),
        ("put", 2, 10),
        ("put", 3, 15),
    ]
    assert [entry for entry in log if entry[0] == "got"] == [
        ("got", 0, 10),
        ("got", 1, 15),
        ("got", 2, 20),
        ("got", 3, 25),
    ]


def test_a_consumer_waits_for_an_item():
    env = simpy.Environment()
    channel = Channel(env, 1)
    got = []

    def consume():
        got.append(((yield from channel.get()), env.now))

    def produce():
        yield env.timeout(7)
        yield from channel.put("x")

    env.process(consume())
    env.process(produce())
    env.run()
    assert got == [("x", 7)]


@pytest.mark.parametrize(
    ("rows", "owners", "taken"), [(6, 9, [0, 0, 10, 10]), (99, 1, [0, 10, 20, 30])]
)
def test_space_is_held_until_released(rows, owners, taken):
    env = simpy.Environment()
    space = Space(env, rows, owners)
    log = []

    def take():
        for _ in range(4):
            yield from space.acquire(3)
            log.append(env.now)
            space.release_at(int(env.now) + 10, 3)

    env.process(take())
    env.run()
    assert log == taken


def test_waiting_for_the_past_costs_no_event():
    env = simpy.Environment()
    assert list(wait_until(env, 0)) == []
