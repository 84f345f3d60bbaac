"""The memory for decoding a message, which is bounded.

Rules of this file:

- Decoded values take much more memory than their encoding: `[]` takes 56 bytes, for two. Therefore a decoder estimates the
  memory before it decodes a large message, and refuses the message if that exceeds `max_memory`.
- Small messages are not looked at: the estimate for any message of their size is within `max_memory`.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ..errors import PacketError

VALUE_SIZE: Final = 112
"""The maximum memory in bytes for one value, without the characters of a text: the value itself, its place in an array or an
object, and the decoder's own data about it."""

_STRUCTURE: Final = "[{,:"


class BoundedDecoder:
    """Base class of decoders that bound the memory for decoding.

    Attributes:
        max_memory: The maximum memory for decoding a message and for its values, in bytes (an estimate).
        small_size: The size in bytes or characters up to which any message can be decoded within `max_memory`.
    """

    __slots__ = ("max_memory", "small_size")

    def __init__(self) -> None:
        self.limit(inf)

    def limit(self, max_memory: float) -> None:
        """Set `max_memory`."""
        self.max_memory = max_memory
        self.small_size = max_memory / (VALUE_SIZE + 16)

    def too_costly(self, size: int) -> PacketError:
        """Return the error for a message of `size` bytes or characters that would exceed `max_memory`."""
        return PacketError(
            f"decoding a message of {size:,} bytes would use more than {self.max_memory:,} bytes of memory, which is eight "
            "times max_message_size"
        )


def count_values(text: str, most: int) -> int:
    """Return an upper bound of the number of values and keys in JSON. Stop counting soon after `most`."""
    count = sum(map(text.count, _STRUCTURE)) - text.count("[]") - text.count("{}")
    if count <= most:
        return count
    # Count again, without what is inside of strings. In valid JSON there is a comma or a colon between two strings.
    text = text.replace("\\\\", "").replace('\\"', "")
    count = strings = start = 0
    while start < len(text) and count <= most and strings <= count + 1:
        quote = text.find('"', start)
        end = len(text) if quote == -1 else quote
        count += 1 if end == start + 1 else sum([text.count(each, start, end) for each in _STRUCTURE])
        start = text.find('"', end + 1) + 1 or len(text)
        strings += 1
    return count
