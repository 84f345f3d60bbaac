"""The properties of the fuzz targets, for the inputs of their corpora and for generated ones. None needs atheris."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.seeds import seeds
from fuzz.targets import TARGETS, corpus, file_name

FILES = [(name, file) for name in TARGETS for file in corpus(name)]


@pytest.mark.parametrize(("target", "file"), FILES, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_a_corpus(target: str, file: Path) -> None:
    TARGETS[target](file.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_corpus_has_the_seeds_unchanged(target: str) -> None:
    names = {file.name for file in corpus(target)}
    assert {file_name(seed) for seed in seeds(target)} <= names
    assert all(file_name(file.read_bytes()) == file.name for file in corpus(target)), "line endings were converted"


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """An input of the corpus with some bytes replaced, removed or inserted, or a part of another in it."""
    inputs = [file.read_bytes() for file in corpus(target)]
    data = bytearray(draw(st.sampled_from(inputs)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 8, len(data))))
        other = draw(st.sampled_from(inputs))
        first = draw(st.integers(0, len(other)))
        data[start:end] = draw(st.binary(max_size=8) | st.just(other[first : first + 40]))
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_generated_inputs(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(mutated(target) | st.binary(max_size=300)))


@pytest.mark.parametrize(
    ("target", "data"),
    [
        ("socketio", b"\x0031[" + b"[" * 3000 + b"]" * 3000 + b"]"),
        ("msgpack", b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e" + b"\x91" * 3000 + b"\x00"),
    ],
)
def test_deeply_nested_input(target: str, data: bytes) -> None:
    TARGETS[target](data)
