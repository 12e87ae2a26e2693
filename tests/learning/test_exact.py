"""The shared arithmetic against twins in plain Python, on other instruction sets, and against the golden vectors."""

import json
import math
import os
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import exact
from learning.exact import (
    FITNESS_LOWEST,
    FITNESS_MAX,
    GOLDEN_VECTORS,
    ExactArithmeticError,
    StreamKey,
    fill_children,
    first_weights,
    inverse_square_root,
    micro_units,
    noise_key,
    permutation,
    raw_words,
    recombine,
    round_factor,
    round_ratio,
    self_test,
    signs,
    stream_key,
    tree_sum,
    words_per_candidate,
)
from learning.golden_digests import GOLDEN_DIGESTS
from learning.task import Float32Array, ParameterBlock
from tests.portability import instructions

ROOT = Path(__file__).resolve().parents[2]
KEY = stream_key(b"test")
SIGMA = round_factor(Decimal("0.03"))

keys = st.integers(min_value=0, max_value=2**128 - 1).map(StreamKey)
sizes = st.integers(min_value=1, max_value=700)
indices = st.integers(min_value=0, max_value=2**32 - 10)


def philox(key: int, counter: int) -> tuple[int, ...]:
    """Philox4x64-10 as in its paper, section 3 and table 2."""
    mask = 2**64 - 1
    words = [counter >> (64 * place) & mask for place in range(4)]
    first_key, second_key = key & mask, key >> 64
    for _ in range(10):
        first, second = words[0] * 0xD2E7470EE14C6C93, words[2] * 0xCA5A826395121157
        words = [(second >> 64) ^ words[1] ^ first_key, second & mask, (first >> 64) ^ words[3] ^ second_key, first & mask]
        first_key, second_key = (first_key + 0x9E3779B97F4A7C15) & mask, (second_key + 0xBB67AE8584CAA73B) & mask
    return tuple(words)


def theta_of(size: int) -> Float32Array:
    return np.random.Generator(np.random.Philox(key=9)).standard_normal(size, dtype=np.float32)


@settings(max_examples=30)
@given(key=keys, block=st.integers(min_value=0, max_value=2**200))
def test_the_stream_is_the_published_cipher(key: StreamKey, block: int) -> None:
    expected = philox(key, block + 1) + philox(key, block + 2)
    assert tuple(int(word) for word in raw_words(key, block, 8)) == expected


@settings(max_examples=40)
@given(key=keys, index=indices, size=sizes)
def test_the_noise_of_a_candidate_is_its_slice_of_the_whole_stream_bit_by_bit(key: StreamKey, index: int, size: int) -> None:
    words = words_per_candidate(size)
    stream = b"".join(int(word).to_bytes(8, "little") for word in raw_words(key, index * words // 4, words))
    expected = [1 if stream[place // 8] >> (place % 8) & 1 else -1 for place in range(size)]
    assert signs(key, index, size).tolist() == expected


@settings(max_examples=40)
@given(key=keys, first=indices, size=st.sampled_from((1, 7, 8, 255, 256, 257, 4_810)), count=st.integers(1, 9))
def test_children_of_a_run_are_theta_plus_sigma_times_signs_in_two_operations(
    key: StreamKey, first: int, size: int, count: int
) -> None:
    theta = theta_of(size)
    children = np.empty((count, size), dtype=np.float32)
    fill_children(children, theta, key, first, SIGMA)
    expected = [theta + SIGMA * signs(key, first + row, size).astype(np.float32) for row in range(count)]
    assert children.tobytes() == np.array(expected).tobytes()


def test_a_model_larger_than_a_chunk_gets_the_same_noise() -> None:
    size = exact.CHUNK_WORDS * exact.PARAMETERS_PER_WORD * 2 + 1_001
    theta = theta_of(size)
    children = np.empty((2, size), dtype=np.float32)
    fill_children(children, theta, KEY, 3, SIGMA)
    assert children[1].tobytes() == (theta + SIGMA * signs(KEY, 4, size).astype(np.float32)).tobytes()


def test_another_author_parent_or_network_has_other_noise() -> None:
    made = {noise_key(b"n", b"p", b"a"), noise_key(b"m", b"p", b"a"), noise_key(b"n", b"q", b"a"), noise_key(b"n", b"p", b"b")}
    assert len(made | {noise_key(b"np", b"", b"a"), noise_key(b"", b"np", b"a")}) == 6


factors = st.decimals(min_value=Decimal("1e-9"), max_value=Decimal("1e9"), allow_nan=False, allow_infinity=False, places=12)


@given(value=factors.filter(lambda value: value > 0))
def test_a_rounded_factor_is_the_nearest_of_16_bits(value: Decimal) -> None:
    mantissa, exponent = math.frexp(float(round_factor(value)))
    assert (mantissa * 2**16).is_integer()
    step = Fraction(2) ** (exponent - 16)
    assert abs(Fraction(math.ldexp(mantissa, exponent)) - Fraction(value)) <= step / 2


@given(value=factors.filter(lambda value: value > 0), weighted_sum=st.integers(min_value=-255, max_value=255))
def test_a_factor_times_a_weighted_sum_is_exact(value: Decimal, weighted_sum: int) -> None:
    factor = round_factor(value)
    assert Fraction(float(factor * np.float32(weighted_sum))) == Fraction(float(factor)) * weighted_sum


def test_a_tie_goes_to_the_even_factor() -> None:
    assert [float(round_factor(Decimal(text))) for text in ("65537", "65539", "-65537")] == [65536.0, 65540.0, -65536.0]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e-40", "1e40"])
def test_a_factor_that_float32_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="factor"):
        round_factor(Decimal(text))


@given(value=st.integers(min_value=1, max_value=10**12))
def test_the_inverse_root_is_the_rounded_decimal_one(value: int) -> None:
    assert inverse_square_root(value) == round_factor(1 / Decimal(value).sqrt())


@given(st.integers(-(2**60), 2**60), st.integers(1, 2**20))
def test_a_ratio_is_rounded_to_its_nearest_number_of_16_bits(numerator: int, denominator: int) -> None:
    ratio, found = Fraction(numerator, denominator), Fraction(float(round_ratio(Fraction(numerator, denominator))))
    mantissa = math.frexp(float(found))[0] * 2**16
    assert mantissa == int(mantissa)
    assert abs(found - ratio) <= abs(ratio) / 2**16


@settings(max_examples=30)
@given(chosen=st.lists(indices, min_size=1, max_size=8, unique=True), size=sizes)
def test_a_recombined_child_rounds_once(chosen: list[int], size: int) -> None:
    weights = tuple(range(len(chosen), 0, -1))
    theta, scale = theta_of(size), round_factor(Decimal("0.0123"))
    total = sum(weight * signs(KEY, index, size).astype(np.int64) for weight, index in zip(weights, chosen, strict=True))
    expected = theta + (np.float64(scale) * np.float64(1) * total).astype(np.float32)
    assert recombine(theta, KEY, tuple(chosen), weights, scale).tobytes() == expected.tobytes()


def test_first_weights_are_uniform_within_the_blocks_bound_and_zero_without_fan_in() -> None:
    layout = (ParameterBlock("weight", (64, 64), 64), ParameterBlock("bias", (64,), 0), ParameterBlock("last", (3, 64), 16))
    weights = first_weights(KEY, layout)
    first, bias, last = weights[:4_096], weights[4_096:4_160], weights[4_160:]
    assert (first.min() >= -0.125, first.max() < 0.125, len(last)) == (True, True, 192)
    assert abs(float(first.mean())) < 0.01
    assert float(first.std()) == pytest.approx(0.125 / math.sqrt(3), rel=0.05)
    assert bias.tobytes() == bytes(256)
    assert 0.125 < float(np.abs(last).max()) <= 0.25


@given(values=st.lists(st.integers(min_value=-(2**40), max_value=2**40), max_size=70))
def test_a_tree_sum_of_integers_is_exact(values: list[int]) -> None:
    assert tree_sum(np.array(values, dtype=np.float64)) == sum(values)


def test_a_tree_sum_adds_halves() -> None:
    values = np.array([1e16, 1.0, -1e16])
    assert tree_sum(values) == (1e16 + -1e16) + (1.0 + 0.0)


@given(fitness=st.floats(allow_nan=False, allow_infinity=False))
def test_micro_units_are_the_nearest_integer_in_range(fitness: float) -> None:
    assert micro_units(fitness) == min(max(round(Fraction(fitness) * 10**6), FITNESS_LOWEST), FITNESS_MAX)


@pytest.mark.parametrize("fitness", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_the_lowest_fitness(fitness: float) -> None:
    assert micro_units(fitness) == FITNESS_LOWEST


@given(seed=st.binary(max_size=40), size=st.integers(min_value=0, max_value=300))
def test_a_permutation_holds_each_number_once(seed: bytes, size: int) -> None:
    assert sorted(permutation(seed, size).tolist()) == list(range(size))


def test_another_seed_gives_another_order() -> None:
    assert permutation(b"a", 50).tolist() != permutation(b"b", 50).tolist()


def test_this_machine_passes_the_self_test() -> None:
    self_test()


def test_the_self_test_names_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "GOLDEN_DIGESTS", {**GOLDEN_DIGESTS, "tree sum": "00", "signs": "11"})
    with pytest.raises(ExactArithmeticError, match="signs, tree sum"):
        self_test()


def test_every_vector_has_a_digest() -> None:
    assert GOLDEN_VECTORS.keys() == GOLDEN_DIGESTS.keys()


def test_plain_values_are_those_of_the_first_release() -> None:
    vectors = json.loads((ROOT / "tests/vectors/exact.json").read_text())
    assert exact_values() == vectors


def exact_values() -> dict[str, object]:
    """Small plain values, so that another implementation can be tried against the file."""
    key = noise_key(b"network", b"parent", b"author")
    children = np.empty((1, 9), dtype=np.float32)
    fill_children(children, np.arange(9, dtype=np.float32) / np.float32(8), key, 1, SIGMA)
    layout = (ParameterBlock("weight", (2, 2), 3), ParameterBlock("bias", (2,), 0))
    return {
        "noise_key": f"{key:032x}",
        "raw_words": [f"{int(word):016x}" for word in raw_words(key, 1, 4)],
        "signs_of_index_1": signs(key, 1, 20).tolist(),
        "child_of_index_1": children.tobytes().hex(),
        "first_weights": first_weights(key, layout).tobytes().hex(),
        "permutation": permutation(b"seed", 10).tolist(),
        "round_factor_0.03": float(SIGMA).hex(),
        "inverse_square_root_3": float(inverse_square_root(3)).hex(),
        "micro_units_-2.3025850929940455": micro_units(-2.3025850929940455),
    }


FRESH = """
from learning import exact
print({name: exact._digest(compute()) for name, compute in exact.GOLDEN_VECTORS.items()} == exact.GOLDEN_DIGESTS)
"""


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_a_fresh_process_without_wide_instructions_computes_the_same(hash_seed: str) -> None:
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(instructions()), "PYTHONHASHSEED": hash_seed}
    answer = subprocess.run(
        [sys.executable, "-c", FRESH], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "True\n"
