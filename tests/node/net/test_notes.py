"""People are told of strangers, and no stranger fills a log."""

import os

from node.net.notes import SeldomNotes
from tests.node.net.example_peers import identity_of, node_of, play, running


def test_what_is_left_out_is_counted_and_told_with_the_next_one() -> None:
    told: list[str] = []
    now = [0.0]
    notes = SeldomNotes(told.append, lambda: now[0], burst=2)
    for number in range(5):
        notes.say(f"note {number}")
    now[0] = 10.0
    notes.say("note 5")
    assert told == ["note 0", "note 1", "note 5 (and 3 more like it)"]


def test_refusals_of_a_thousand_fresh_keys_leave_few_lines() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            for number in range(1_000):
                ann.network.refuse(identity_of(1_000 + number).peer, "more messages than allowed", os.urandom(8).hex())
            assert len(ann.notes) <= 65
            assert len(ann.network.refused_peers()) == 1_000

    play(scenario)
