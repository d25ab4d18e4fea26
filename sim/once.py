"""Answers that many machines ask of one trace: found once, forgotten with the trace."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import wraps
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

OWNERS = 16
"""Owners whose answers are kept, the latest used: a sweep runs the machines of a trace in turn."""

Owner = TypeVar("Owner")
Rest = ParamSpec("Rest")
Answer = TypeVar("Answer")


def once(
    kept: int,
) -> Callable[
    [Callable[Concatenate[Owner, Rest], Answer]], Callable[Concatenate[Owner, Rest], Answer]
]:
    """Let a pure function find each answer once while its first argument lives.

    The answer belongs to that very object, its owner, whatever it is equal to; the other
    arguments are compared and must be hashable. Callers share the answer, so its arrays become
    read-only. An owner is not kept alive.

    Args:
        kept: answers of one owner that are kept, the latest used.
    """

    def decorate(
        function: Callable[Concatenate[Owner, Rest], Answer],
    ) -> Callable[Concatenate[Owner, Rest], Answer]:
        memory = _Memory(kept)

        @wraps(function)
        def answer(owner: Owner, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
            key = (args, tuple(sorted(kwargs.items())))
            found = memory.find(owner, key)
            if found is None:
                found = (read_only(function(owner, *args, **kwargs)),)
                memory.keep(owner, key, found)
            value: Answer = found[0]
            return value

        return answer

    return decorate


_Entry = tuple[weakref.ref[Any], OrderedDict[Hashable, Any]]


class _Memory:
    """The answers of one function, by identity of their owner. Threads may share it."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = Lock()
        self._of: OrderedDict[int, _Entry] = OrderedDict()

    def find(self, owner: Any, key: Hashable) -> Any:
        with self._lock:
            answers = self._answers(owner)
            if answers is None or key not in answers:
                return None
            self._of.move_to_end(id(owner))
            answers.move_to_end(key)
            return answers[key]

    def keep(self, owner: Any, key: Hashable, answer: Any) -> None:
        with self._lock:
            answers = self._answers(owner)
            if answers is None:
                number, answers = id(owner), OrderedDict()
                # it takes no lock: an owner may die while this thread holds it
                reference = weakref.ref(owner, lambda _: self._of.pop(number, None))
                self._of[number] = (reference, answers)
            answers[key] = answer
            if len(answers) > self._kept:
                answers.popitem(last=False)
            if len(self._of) > OWNERS:
                self._of.popitem(last=False)

    def _answers(self, owner: Any) -> OrderedDict[Hashable, Any] | None:
        reference, answers = self._of.get(id(owner), (None, None))
        return answers if reference is not None and reference() is owner else None


def read_only(value: Any) -> Any:
    """Make the arrays of a value read-only, also those in dataclasses, tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif is_dataclass(value):
        for field in fields(value):
            read_only(getattr(value, field.name))
    elif isinstance(value, dict):
        for part in value.values():
            read_only(part)
    elif isinstance(value, tuple | list):
        for part in value:
            read_only(part)
    return value
