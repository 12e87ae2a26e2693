"""A generation under way as bytes: it comes back in any phase, and what does not fit is named."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.gradient.scored_slate import (
    KeptPayloads,
    StepCandidacy,
    StepConsensus,
    decode_generation,
    deliver_again,
    encode_generation,
    encode_scored,
)
from learning.learner import AuthoredPayload
from learning.model_consensus.slate import ModelConsensus, Scores
from learning.state import StoredStateError, state_digest
from tests.learning.following.line_world import Shelf
from tests.learning.gradient.test_scored_slate import GENERATION, Booth
from tests.learning.gradient.tiny import gradient_of, worker

MEMBERS = 4
NEEDED = 3


def booth_with(gradients: int, scores: int) -> Booth:
    """So many of either delivered."""
    booth = Booth(MEMBERS)
    for place in range(gradients):
        assert booth.deliver(place, gradient_of([place % 3, 1, -place])) is None
    booth.consensus.end_of_commit()
    for place in range(scores):
        slate = booth.consensus.slate
        assert slate is not None
        row = Scores(slate.digest, tuple(range(place, place + len(slate.entries))))
        assert booth.consensus.deliver(AuthoredPayload(b"", worker(place), GENERATION, encode_scored(row))) is None
    return booth


def again(booth: Booth, memory: bytes) -> StepConsensus:
    """A consensus that has just begun, with no payload at hand, after the memory was delivered to it."""
    kept = decode_generation(memory)
    digest = state_digest(booth.model)
    candidacy = StepCandidacy(booth.rules, booth.model, digest, KeptPayloads(kept, Shelf()))
    consensus = ModelConsensus(tuple(worker(place) for place in range(MEMBERS)), GENERATION, candidacy)
    deliver_again(kept, consensus, booth.model.height, digest)
    return consensus


@given(gradients=st.integers(0, MEMBERS), scores=st.integers(0, NEEDED - 1))
def test_a_generation_comes_back_in_any_phase(gradients: int, scores: int) -> None:
    booth = booth_with(gradients, scores if gradients >= NEEDED else 0)
    memory = encode_generation(booth.consensus)
    consensus = again(booth, memory)
    assert (consensus.phase, consensus.counted) == (booth.consensus.phase, booth.consensus.counted)
    assert [entry.digest for entry in consensus.entries] == [entry.digest for entry in booth.consensus.entries]
    assert (consensus.slate is None) == (booth.consensus.slate is None)
    assert encode_generation(consensus) == memory


def _changed(gradients: int, scores: int, kept_gradients: int, kept_scores: int) -> bytes:
    """A memory that holds fewer of either, or more."""
    kept = decode_generation(encode_generation(booth_with(gradients, scores).consensus))
    row = kept.scores[0][1] if kept.scores else (0,)
    rows = tuple((worker(place), row) for place in range(kept_scores))
    return msgspec.msgpack.encode((kept.gradients[:kept_gradients], rows))


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (b"", "no generation of scored steps"),
        (b"\x92\x90", "no generation of scored steps"),
        (msgspec.msgpack.encode(((), (), ())), "no generation of scored steps"),
        (msgspec.msgpack.encode((((b"short", b"x"),), ())), "no generation of scored steps"),
        (msgspec.msgpack.encode((((worker(0), b"junk"),), ())), "does not fit the task's model: malformed"),
        (msgspec.msgpack.encode((((worker(9), gradient_of([1, 2, 3]).encoded),), ())), "not by a member"),
        (msgspec.msgpack.encode((((worker(0), gradient_of([1, 2, 3]).encoded),) * 2, ())), "second candidate of its author"),
        (_changed(3, 1, 2, 1), "scores, but too few gradients for a slate"),
        (_changed(3, 1, 3, 3), "3 scores, with which it would be decided"),
        (_changed(4, 1, 3, 1), "not one score for each entry"),
    ],
)
def test_a_memory_that_does_not_fit_is_named(memory: bytes, message: str) -> None:
    with pytest.raises(StoredStateError, match=message):
        again(Booth(MEMBERS), memory)


def test_payloads_that_are_not_kept_come_from_the_others() -> None:
    others = Shelf()
    digest, _ = others.put(b"elsewhere")
    booth = booth_with(1, 0)
    payloads = KeptPayloads(decode_generation(encode_generation(booth.consensus)), others)
    own = gradient_of([0, 1, 0])
    assert [payloads.payload(name) for name in (digest, own.digest, bytes(32))] == [b"elsewhere", own.encoded, None]
