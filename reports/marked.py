"""Generated parts of a text: what stands between two lines that mark it."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import InputError

Marks = tuple[str, str]


def marked(text: str, marks: Marks) -> str:
    """Return what stands between two marks.

    Raises:
        InputError: the text lacks them.
    """
    start, end = (text.find(mark) for mark in marks)
    if not 0 <= start < end:
        raise InputError(f"the text must hold {' and '.join(mark.strip() for mark in marks)}")
    return text[start + len(marks[0]) : end]


def write_marked(file: Path, marks: Marks, new: str) -> None:
    """Replace what stands between two marks of a file.

    Raises:
        InputError: the file lacks them.
    """
    text = file.read_text("utf-8")
    old = marked(text, marks)
    file.write_text(text.replace(marks[0] + old, marks[0] + new), "utf-8")
