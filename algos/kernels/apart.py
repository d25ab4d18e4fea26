"""Run a function in a process of its own, whose death costs its answer and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class Died(Exception):
    """The process ended without an answer; the message says how."""


def run_apart(
    function: Callable[..., Any], *arguments: Any, watch: Callable[[], None] = lambda: None
) -> Any:
    """Return a function's answer, or raise what it raised.

    Args:
        function: of a module, so that another process can import it.
        arguments: what can be pickled.
        watch: called twice a second meanwhile. What it raises ends the process.

    Raises:
        Died: the process was killed, or crashed.
    """
    context = get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while not mine.poll(0.5):
            watch()
        succeeded, value = mine.recv()
    except EOFError:
        process.join()
        raise Died(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.terminate()
        process.join()
        mine.close()
    if not succeeded:
        raise value
    return value


def _answer(channel: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    os.environ.pop("TRITON_INTERPRET", None)
    try:
        answer = True, function(*arguments)
    except Exception as error:
        answer = False, error
    channel.send(answer)
