"""The bytes that members vouch for: one state, one encoding, one digest."""

from hypothesis import given
from hypothesis import strategies as st

from learning.checkpoint import CHECKPOINT_INTERVAL, checkpoint_digest, decode_kept_state, encode_kept_state
from learning.evolution.mutation import kept_interval
from learning.learner import StateKept
from learning.task import ParameterBlock

digests = st.binary(min_size=32, max_size=32).filter(any)


@given(
    step=digests,
    height=st.integers(0, 2**63),
    parameters=st.binary(max_size=64),
    commit=st.integers(0, 2**63),
    commit_step=digests | st.just(b""),
    state_digest=digests,
    memory=st.binary(max_size=64),
)
def test_a_kept_state_comes_back(  # noqa: PLR0917 - one argument a field
    step: bytes, height: int, parameters: bytes, commit: int, commit_step: bytes, state_digest: bytes, memory: bytes
) -> None:
    state = StateKept(step, height, parameters, commit, commit_step, state_digest, memory)
    assert decode_kept_state(encode_kept_state(state)) == state


def test_the_digest_covers_every_field() -> None:
    state = StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32)
    others = [
        StateKept(b"t" * 32, 32, b"abcd", 400, b"c" * 32),
        StateKept(b"s" * 32, 64, b"abcd", 400, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abce", 400, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 401, b"c" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"d" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32, b"d" * 32),
        StateKept(b"s" * 32, 32, b"abcd", 400, b"c" * 32, memory=b"e"),
        StateKept(b"s" * 32, 32, b"abc", 400, b"c" * 32, memory=b"d"),
    ]
    assert len({checkpoint_digest(encode_kept_state(item)) for item in [state, *others]}) == 9


@given(parameters=st.integers(min_value=1, max_value=2**31))
def test_every_checkpoint_is_a_state_that_each_member_keeps(parameters: int) -> None:
    assert CHECKPOINT_INTERVAL % kept_interval((ParameterBlock("w", (parameters,), 1),)) == 0
