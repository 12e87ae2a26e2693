"""Which states of the steps above the final one stay at hand, where there is no room for all.

A state that is not at hand is rebuilt from its nearest ancestor that is. So those that stay lie at about even distances: at
depth 256 with room for 16 a fork from anywhere is rebuilt in some 16 steps, and with room for none in up to 256.
"""

from collections.abc import Callable, Container, Iterable


def least_missed(candidates: Iterable[bytes], at_hand: Container[bytes], parent_of: Callable[[bytes], bytes]) -> bytes:
    """Of the candidates the one that is rebuilt in the fewest steps; of equals, the first.

    `at_hand`: the steps whose states are there, the root among them, where every path down by `parent_of` comes to an end.
    """
    fewest: tuple[int, bytes] | None = None
    for step in candidates:
        distance, ancestor = 1, parent_of(step)
        while ancestor not in at_hand:
            distance, ancestor = distance + 1, parent_of(ancestor)
        if fewest is None or distance < fewest[0]:
            fewest = distance, step
        if distance == 1:
            break
    assert fewest is not None, "there is nothing to choose from"
    return fewest[1]
