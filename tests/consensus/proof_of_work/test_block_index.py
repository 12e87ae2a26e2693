from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consensus.evidence import Offence
from consensus.proof_of_work.block_index import BlockIndex, header_fault, next_target
from consensus.proof_of_work.difficulty import scaled_target, start_target, work_of
from consensus.types import Height
from tests.consensus.proof_of_work.forge import RULES, START_MS, Forge, person

HARD = structs.replace(RULES, start_attempts=1_000)
FORGE = Forge(HARD)
ALICE = person("alice")


def timed_chain(times: list[int], forge: Forge = FORGE) -> list[BlockIndex]:
    """Links with these times in ms after the start; the puzzles are not solved, the rules of time not kept."""
    links = [forge.genesis]
    for time_ms in times:
        body = forge.body(links[-1])
        draft = forge.draft(links[-1], ALICE, body, START_MS + time_ms)
        links.append(forge.forged(links[-1], forge.seal(draft, body, ALICE, is_solved=False)).link)
    return links


gaps = st.lists(st.integers(min_value=0, max_value=30_000), min_size=1, max_size=25)


@given(gaps)
def test_the_target_depends_on_the_time_since_block_one_alone(steps: list[int]) -> None:
    times = [sum(steps[: index + 1]) for index in range(len(steps))]
    tip = timed_chain(times)[-1]
    drift_ms = times[-1] - times[0] - 1_000 * (len(times) - 1)
    assert next_target(tip, HARD) == scaled_target(start_target(1_000), drift_ms, HARD.half_life_ms)


@given(st.integers(min_value=0, max_value=10**9))
def test_the_wait_before_the_first_block_does_not_matter(wait_ms: int) -> None:
    assert [next_target(link, HARD) for link in timed_chain([wait_ms])] == [start_target(1_000)] * 2


def test_a_pause_of_the_whole_network_counts_as_one_half_life() -> None:
    on_time, paused = [1_000 * height for height in range(10)], [1_000 * height for height in range(9)]
    paused.append(36_000_000)
    assert next_target(timed_chain(paused)[-1], HARD) == scaled_target(
        start_target(1_000), HARD.half_life_ms - 1_000, HARD.half_life_ms
    )
    assert next_target(timed_chain(on_time)[-1], HARD) == start_target(1_000)


def test_a_block_that_is_dated_back_does_not_move_the_schedule() -> None:
    honest = timed_chain([1_000 * height for height in range(20)])
    times = [1_000 * height for height in range(20)]
    times[15] = 9_500
    lied = timed_chain(times)
    assert next_target(lied[-1], HARD) == next_target(honest[-1], HARD)


def test_a_chain_on_schedule_for_ten_thousand_blocks_has_not_drifted() -> None:
    link = timed_chain([0])[-1]
    late = replace(link, height=Height(10_000), elapsed_ms=9_999_000, latest_ms=START_MS + 9_999_000)
    assert next_target(late, HARD) == start_target(1_000)


def test_work_adds_up() -> None:
    links = timed_chain([0, 1_000, 2_000])
    assert [link.work for link in links] == [work_of(start_target(1_000)) * count for count in range(4)]


def test_time_must_be_later_than_the_median_of_the_last_eleven() -> None:
    links = timed_chain([0, 5, 1, 9, 2, 7, 3, 8, 4, 6, 10, 12])
    last_eleven = sorted([5, 1, 9, 2, 7, 3, 8, 4, 6, 10, 12])
    assert links[-1].next_time_min == START_MS + last_eleven[5] + 1


def test_genesis_has_no_time() -> None:
    assert FORGE.genesis.next_time_min == 0


EASY = Forge(RULES)
PARENT = EASY.branch(EASY.genesis, ALICE, 3)[-1].link


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"height": 5}, (Offence.WRONG_HEIGHT, "height is 5, allowed: 4")),
        ({"target": 2**255}, (Offence.WRONG_TARGET, f"target is {2**255:#x}, allowed: {2**256 - 1:#x}")),
        (
            {"time_ms": START_MS + 1_000},
            (Offence.WRONG_TIME, f"time_ms is {START_MS + 1_000}, allowed: {START_MS + 1_001} or later"),
        ),
    ],
)
def test_a_header_is_held_to_the_rules(changes: dict[str, int], fault: tuple[Offence, str] | None) -> None:
    assert header_fault(PARENT, EASY.bent(PARENT, ALICE, **changes).header, RULES) == fault
