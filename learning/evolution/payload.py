"""The bytes of candidates and claims: fixed binary forms, little-endian, one value one encoding.

Candidate: version u8 | claimed fitness i64 | number of indices u8 | indices u32 each
Claim: version u8 | child i64 | parent i64.

Section 4 of docs/protocol.md.
"""

import struct
from dataclasses import dataclass

from learning.evolution.recipe import Recipe, RecipeError
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.model_consensus.slate import MalformedPayloadError

PAYLOAD_VERSION = 1

_CANDIDATE_HEAD = struct.Struct("<BqB")
_CLAIM = struct.Struct("<Bqq")
INDEX_BYTES = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an author signs: a recipe, and the fitness of its child on the scoring batch, in micro-units."""

    recipe: Recipe
    claimed_fitness: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What the leader of a step signs: the fitness of child and parent on the parent's scoring batch, in micro-units."""

    child_fitness: int
    parent_fitness: int


def encode_candidate(candidate: Candidate) -> bytes:
    """10 bytes, and 4 for each index."""
    indices = candidate.recipe.indices
    head = _CANDIDATE_HEAD.pack(PAYLOAD_VERSION, candidate.claimed_fitness, len(indices))
    return head + struct.pack(f"<{len(indices)}I", *indices)


def decode_candidate(data: bytes, recipe_length_max: int) -> Candidate:
    """The inverse of encode_candidate. Raises MalformedPayloadError."""
    if len(data) < _CANDIDATE_HEAD.size:
        raise MalformedPayloadError(f"candidate of {len(data)} bytes, allowed {_CANDIDATE_HEAD.size + INDEX_BYTES} or more")
    version, fitness, length = _CANDIDATE_HEAD.unpack_from(data)
    _require("candidate version", version, PAYLOAD_VERSION, PAYLOAD_VERSION)
    _require("claimed_fitness", fitness, FITNESS_LOWEST, FITNESS_MAX)
    _require("recipe length", length, 1, recipe_length_max)
    expected = _CANDIDATE_HEAD.size + INDEX_BYTES * length
    if len(data) != expected:
        raise MalformedPayloadError(f"candidate of {len(data)} bytes, expected {expected} for {length} indices")
    try:
        recipe = Recipe(struct.unpack_from(f"<{length}I", data, _CANDIDATE_HEAD.size))
    except RecipeError as error:
        raise MalformedPayloadError(str(error)) from error
    return Candidate(recipe, fitness)


def claimed_fitness(data: bytes) -> int:
    """What a candidate claims, for who wants to look at the best first; FITNESS_LOWEST where the bytes are none."""
    return _CANDIDATE_HEAD.unpack_from(data)[1] if len(data) >= _CANDIDATE_HEAD.size else FITNESS_LOWEST


def encode_claim(claim: Claim) -> bytes:
    """17 bytes."""
    return _CLAIM.pack(PAYLOAD_VERSION, claim.child_fitness, claim.parent_fitness)


def decode_claim(data: bytes) -> Claim:
    """The inverse of encode_claim. Raises MalformedPayloadError."""
    if len(data) != _CLAIM.size:
        raise MalformedPayloadError(f"claim of {len(data)} bytes, expected {_CLAIM.size}")
    version, child, parent = _CLAIM.unpack(data)
    _require("claim version", version, PAYLOAD_VERSION, PAYLOAD_VERSION)
    _require("child_fitness", child, FITNESS_LOWEST, FITNESS_MAX)
    _require("parent_fitness", parent, FITNESS_LOWEST, FITNESS_MAX)
    return Claim(child, parent)


def _require(field: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise MalformedPayloadError(f"{field} is {value}, allowed {lowest}..{highest}")
