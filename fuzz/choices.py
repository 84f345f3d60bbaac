"""Decisions that are read from the bytes of an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """A reader of decisions. Each takes one byte, so that a small change of the input changes a few of them.

    When the input is exhausted, every decision is the first of its alternatives.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def are_left(self) -> bool:
        """Whether the input is not exhausted."""
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """Return a number from 0 on, below `below`."""
        byte = self._data[self._at] if self.are_left else 0
        self._at += 1
        return byte % below

    def flag(self) -> bool:
        return self.number(2) == 1

    def one_of(self, alternatives: Sequence[T]) -> T:
        return alternatives[self.number(len(alternatives))]

    def raw(self) -> bytes:
        """Return up to 255 bytes unchanged."""
        size = self.number(256)
        data = self._data[self._at : self._at + size]
        self._at += size
        return data
