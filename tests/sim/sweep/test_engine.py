"""The pool of processes: one answer a call, whatever a call does to its worker.

Calls are functions of the standard library, which every worker can import.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.sweep.engine import AHEAD, STILLBORN, Answer, Call, Processes
from workloads.config import parse_settings
from workloads.errors import InputError

KILLED = "the worker process that ran it died, twice"


@pytest.fixture(scope="module")
def pool():
    """Two processes that many tests share."""
    with Processes(2) as engine:
        yield engine


def results(engine, stream):
    """Return what every call answered, by tag."""
    found = [(reply.tag, reply.failure or reply.value) for reply in engine.run(stream)]
    assert len({tag for tag, _ in found}) == len(found)
    return dict(found)


def kill():
    return Call("kill", signal.raise_signal, (signal.SIGKILL,))


def test_every_call_is_answered_once_with_its_own_tag(pool):
    assert results(pool, (Call(i, pow, (i, 2)) for i in range(50))) == {i: i * i for i in range(50)}
    assert results(pool, []) == {}


def test_answers_come_as_calls_end(pool):
    stream = [Call("slow", time.sleep, (0.4,)), *(Call(i, abs, (i,)) for i in range(5))]
    replies = list(pool.run(stream))
    assert replies[0].tag != "slow"
    assert 0.4 <= next(reply for reply in replies if reply.tag == "slow").seconds < 5


def test_an_answer_in_the_stream_comes_out_again(pool):
    stream = [Answer("a"), Call(1, abs, (-1,)), Answer("b", failure="no")]
    assert results(pool, stream) == {"a": None, 1: 1, "b": "no"}
    assert results(pool, [Answer(i) for i in range(100)]) == dict.fromkeys(range(100))


def test_a_call_that_raises_is_one_failed_answer(pool):
    stream = [
        Call("input", parse_settings, (["x"],)),
        Call("value", int, ("x",)),
        Call("unpicklable", eval, ("lambda: 0",)),
        Call("argument", len, (lambda: 0,)),
        Call("fine", len, ("four",)),
    ]
    found = results(pool, stream)
    assert found["input"] == "a setting must look like name=value, not 'x'"
    assert found["value"] == "ValueError: invalid literal for int() with base 10: 'x'"
    assert "pickle" in found["unpicklable"]
    assert "pickle" in found["argument"]
    assert found["fine"] == 4


def test_what_cannot_be_unpickled_in_the_worker_is_one_failed_answer(pool):
    class Gone:
        def __reduce__(self):
            return int, ("x",)

    found = results(pool, [Call("gone", len, (Gone(),)), Call("fine", len, ("four",))])
    assert found == {
        "gone": "ValueError: invalid literal for int() with base 10: 'x'",
        "fine": 4,
    }


def test_a_call_that_kills_its_worker_fails_alone(pool):
    calls = [Call(i, pow, (i, 2)) for i in range(40)]
    calls.insert(20, kill())
    calls.insert(3, Call("exit", os._exit, (0,)))
    found = results(pool, calls)
    assert found == {i: i * i for i in range(40)} | {"kill": KILLED, "exit": KILLED}


def test_a_worker_that_dies_once_costs_nothing(pool, tmp_path):
    mark = tmp_path / "mark"
    once = (
        f"__import__('os').path.exists({str(mark)!r}) and 'lived' or "
        f"[open({str(mark)!r}, 'w'), __import__('signal').raise_signal(9)]"
    )
    calls = [Call(i, abs, (i,)) for i in range(20)]
    calls.insert(5, Call("once", eval, (once,)))
    assert results(pool, calls) == {i: i for i in range(20)} | {"once": "lived"}


def test_workers_killed_while_they_wait_are_replaced(pool):
    assert results(pool, [Call(i, time.sleep, (0.2,)) for i in range(2)]) == {0: None, 1: None}
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert results(pool, [Call(i, abs, (i,)) for i in range(9)]) == {i: i for i in range(9)}


def test_a_worker_killed_before_it_is_given_more_leaves_its_calls():
    def stream():
        yield Call("first", abs, (-1,))  # from here on the worker is quick, and given more
        yield Call("under way", time.sleep, (0.3,))
        yield Call("behind", abs, (-2,))
        (worker,) = set(multiprocessing.active_children()) - before
        worker.kill()
        worker.join()
        yield Call("next", abs, (-3,))

    before = set(multiprocessing.active_children())
    with Processes(1) as engine:
        assert results(engine, stream()) == {"first": 1, "under way": None, "behind": 2, "next": 3}


def test_a_large_answer_does_not_block(pool):
    calls = [Call(i, eval, ("b'x' * 3_000_000",)) for i in range(10)]
    calls += [Call(f"in {i}", len, (b"y" * 1_000_000,)) for i in range(10)]
    found = results(pool, calls)
    assert all(len(found[i]) == 3_000_000 for i in range(10))
    assert all(found[f"in {i}"] == 1_000_000 for i in range(10))


def test_only_a_few_calls_are_taken_from_the_stream_at_a_time(pool):
    taken = answered = most = 0

    def stream():
        nonlocal taken
        for i in range(300):
            taken += 1
            yield Call(i, abs, (i,))

    for _ in pool.run(stream()):
        answered += 1
        most = max(most, taken - answered + 1)
    assert answered == 300
    assert 2 < most <= 2 * AHEAD


def test_none_waits_behind_a_long_call(pool):
    list(pool.run([Call(i, time.sleep, (0.6,)) for i in range(2)]))  # now both are known to be slow
    calls = [Call(i, os.getpid, ()) for i in range(2)]
    replies = list(pool.run([Call("long", time.sleep, (1.5,)), *calls]))
    assert replies[-1].tag == "long"


def test_a_run_that_was_given_up_leaves_nothing_for_the_next(pool):
    for _ in pool.run(Call(i, abs, (i,)) for i in range(100)):
        break
    assert results(pool, [Call("new", abs, (-5,))]) == {"new": 5}


def test_no_process_is_left():
    before = set(multiprocessing.active_children())
    with Processes(2) as engine:
        assert results(engine, [Call(0, abs, (-1,))]) == {0: 1}
        mine = set(multiprocessing.active_children()) - before
        assert len(mine) == 1  # one call needs one worker
    assert not mine & set(multiprocessing.active_children())


def test_other_children_of_the_process_are_left_alone():
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    child.start()
    try:
        with Processes(1) as engine:
            results(engine, [Call(0, abs, (-1,))])
        assert child.is_alive()
    finally:
        child.kill()
        child.join()
        child.close()


def test_at_least_one_job_is_needed():
    with pytest.raises(InputError, match="jobs must be at least 1, not 0"):
        Processes(0)


SCRIPT = """
import sys, time
from sim.sweep.engine import Call, Processes
{guard}
    with Processes(2) as engine:
        for reply in engine.run(Call(i, {call}) for i in range(1000)):
            print(reply.value, flush=True)
"""


def test_a_script_without_a_guard_is_told(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(guard="if True:", call="abs, (i,)"))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert f"a worker process must start, {STILLBORN} ended before they ran anything" in last
    assert "if __name__ == '__main__':" in last


def started(tmp_path, call):
    """Start the script in its own process group; return it and the pids of two busy workers."""
    guard = "if __name__ == '__main__':"
    (tmp_path / "script.py").write_text(SCRIPT.format(guard=guard, call=call))
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = set()
    while len(pids) < 2:
        pids.add(int(json.loads(process.stdout.readline())))
    return process, pids


def wait_until_gone(pids):
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


BUSY = 'eval, (\'[__import__("os").getpid(), __import__("time").sleep(0.2)][0]\',)'


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGKILL, False),
        (signal.SIGTERM, False),
        (signal.SIGINT, False),
        (signal.SIGINT, True),
    ],
)
def test_workers_end_with_their_parent(tmp_path, number, group):
    process, pids = started(tmp_path, BUSY)
    (os.killpg if group else os.kill)(process.pid, number)
    _, told = process.communicate(timeout=20)
    wait_until_gone(pids)
    assert process.returncode
    assert told.count("Traceback") == (number == signal.SIGINT)  # the parent's own, no worker's


EARLY = """
import os, signal, threading, time
from sim.sweep.engine import Call, Processes
if __name__ == "__main__":
    with Processes(3) as engine:
        threading.Timer(float({delay}), os.killpg, (os.getpid(), signal.SIGINT)).start()
        list(engine.run(Call(i, time.sleep, (9,)) for i in range(9)))
"""


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2])
def test_ctrl_c_while_workers_start_is_not_theirs(tmp_path, delay):
    (tmp_path / "script.py").write_text(EARLY.format(delay=delay))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        start_new_session=True,
    )
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.strip().endswith("KeyboardInterrupt")
