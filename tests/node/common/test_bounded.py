"""Collections that forget."""

from hypothesis import given
from hypothesis import strategies as st

from node.common.bounded import BoundedMap, RecentSet


@given(st.lists(st.integers(0, 20)))
def test_a_recent_set_holds_the_last_distinct_items(items: list[int]) -> None:
    recent: RecentSet[int] = RecentSet(4)
    kept: list[int] = []
    for item in items:
        assert recent.add(item) is (item not in kept)
        kept = (kept if item in kept else [*kept, item])[-4:]
        assert {number for number in range(21) if number in recent} == set(kept)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())))
def test_a_bounded_map_forgets_the_key_that_came_first_and_a_renewed_one_comes_last(steps: list[tuple[int, bool]]) -> None:
    found: BoundedMap[int, int] = BoundedMap(4)
    kept: list[tuple[int, int]] = []
    for value, (key, is_renewed) in enumerate(steps):
        place = next((place for place, (other, _) in enumerate(kept) if other == key), None)
        if is_renewed:
            found.renew(key, value)
            kept = [pair for pair in kept if pair[0] != key]
            place = None
        else:
            found[key] = value
        if place is None:
            kept = [*kept, (key, value)][-4:]
        else:
            kept[place] = (key, value)
        assert list(found.items()) == kept
        assert found.get(key) == value
