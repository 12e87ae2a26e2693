"""Median and trimmed mean against sorting each coordinate in plain Python."""

import struct
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.coordinatewise import CHUNK_BYTES, median, trimmed_mean
from learning.task import Float32Array

values = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**77, 2.0**-100]), st.floats(-(2.0**66), 2.0**66, width=32))


def rounded(value: float) -> float:
    """To float32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def slow_trimmed(columns: list[list[float]], trimmed: int) -> list[float]:
    results = []
    for column in columns:
        middle = sorted(column)[trimmed : len(column) - trimmed]
        total = middle[0]
        for value in middle[1:]:
            total = rounded(total + value)
        results.append(rounded(total / len(middle)))
    return results


def bits(vector: Float32Array) -> bytes:
    return vector.tobytes()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data(), count=st.integers(1, 13), size=st.integers(1, 4))
def test_a_trimmed_mean_is_the_mean_of_the_middle_of_each_coordinate(data: st.DataObject, count: int, size: int) -> None:
    rows = data.draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=count, max_size=count))
    trimmed = data.draw(st.integers(0, (count - 1) // 2))
    vectors = [np.array(row, dtype=np.float32) for row in rows]
    columns = [[float(vector[place]) + 0.0 for vector in vectors] for place in range(size)]
    expected = np.array(slow_trimmed(columns, trimmed), dtype=np.float32)
    assert trimmed_mean(vectors, trimmed).tolist() == expected.tolist()
    assert median(vectors).tolist() == slow_trimmed(columns, (count - 1) // 2)


@pytest.mark.parametrize("count", range(1, 12))
def test_every_order_of_low_and_high_is_sorted_right(count: int) -> None:
    columns = np.array(list(product((0.0, 1.0), repeat=count)), dtype=np.float32)
    expected = np.sort(columns, axis=1)
    for trimmed in range((count + 1) // 2):
        middle = expected[:, trimmed : count - trimmed]
        assert np.array_equal(trimmed_mean(list(columns.T), trimmed), middle.sum(axis=1) / np.float32(count - 2 * trimmed))


@given(order=st.permutations([0.0, -0.0, 0.0, -0.0, 1.0]))
def test_the_two_zeros_are_one_whatever_the_order(order: list[float]) -> None:
    assert bits(median([np.array([value], dtype=np.float32) for value in order])) == bits(np.zeros(1, dtype=np.float32))


def test_chunks_make_no_difference_and_the_vectors_stay_as_they_were() -> None:
    size = CHUNK_BYTES // 4 // 6 + 5
    vectors = [np.random.Generator(np.random.Philox(key=key)).standard_normal(size, dtype=np.float32) for key in range(5)]
    before = [vector.copy() for vector in vectors]
    assert np.array_equal(median(vectors), np.sort(np.stack(vectors), axis=0)[2])
    assert all(np.array_equal(one, other) for one, other in zip(vectors, before, strict=True))
