"""What a peer keeps for who asks."""

from hypothesis import given
from hypothesis import strategies as st

from node.net.message_cache import MessageCache


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6), st.floats(0, 2))))
def test_a_cache_never_exceeds_its_count_its_bytes_or_its_age(additions: list[tuple[int, int, float]]) -> None:
    cache = MessageCache(count_max=5, bytes_max=20, seconds_max=3.0)
    now = 0.0
    added_at: dict[bytes, float] = {}
    for number, length, pause in additions:
        now += pause
        cache.expire(now)
        digest = bytes([number])
        if cache.get(digest) is None:
            added_at[digest] = now
        cache.add(digest, b"m" * length, now)
        kept = list(cache.newest())
        assert len(cache) == len(kept) <= 5
        assert cache.size == sum(len(cache.get(kept_digest) or b"") for kept_digest in kept) <= 20
        assert all(now - added_at[kept_digest] <= 3.0 for kept_digest in kept)
