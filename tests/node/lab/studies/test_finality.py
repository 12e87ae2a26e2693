"""How deep is final: the formulas against published numbers, and the real chain code against the formulas."""

import json
import math
from dataclasses import replace
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from consensus.proof_of_work.rules import ChainRules
from node.lab.studies import finality
from node.lab.studies.finality import (
    YEAR_S,
    ReversalTime,
    depth_for,
    duration,
    mean_blocks,
    measure,
    reproduce_finality,
    seconds_of,
)
from node.lab.studies.finality_race import AttackStrategy, Race, RaceTrack
from node.lab.studies.finality_theory import best_attack, catch_up_chance, counted_share, restarting_blocks
from node.lab.studies.plots import ReproduceError

STANDARD_ERRORS = 4
"""Chance of a false alarm: 1 in 16,000 for each comparison, and the seeds are fixed."""


@pytest.mark.parametrize(
    ("share", "depth", "chance"),
    [(0.1, 6, 0.00059), (0.3, 6, 0.15645), (0.3, 10, 0.06511), (0.4, 8, 0.42621), (0.02, 2, 0.00237), (0.5, 9, 1.0)],
)
def test_the_chance_of_one_attempt_is_rosenfeld_s(share: float, depth: int, chance: float) -> None:
    """Table 1 of arXiv 1402.2009."""
    assert catch_up_chance(share, depth) == pytest.approx(chance, rel=5e-3)


def test_the_mean_of_a_restarting_attacker_is_that_of_its_random_walk() -> None:
    share, depth, random = 0.35, 5, Random(1)
    blocks = []
    for _ in range(4_000):
        honest = since = lead = 0
        while lead < 1 or since <= depth:
            if random.random() < share:
                lead += 1
            else:
                honest, since, lead = honest + 1, since + 1, lead - 1
            if lead < 0:
                since = lead = 0
        blocks.append(honest)
    mean = sum(blocks) / len(blocks)
    assert mean == pytest.approx(restarting_blocks(share, depth), rel=STANDARD_ERRORS / math.sqrt(len(blocks)))


def test_who_knows_when_to_give_up_is_faster_and_who_dates_early_faster_still() -> None:
    restarting, stopping = restarting_blocks(0.3, 20), best_attack(0.3, 20, None).mean_blocks
    early = [best_attack(0.3, 20, half_life).mean_blocks for half_life in (120, 30)]
    assert restarting > 2 * stopping
    assert stopping > early[0] > early[1]
    assert mean_blocks(ReversalTime(0.3, 20, 0.1, 30)) < early[1] / 1.5  # stale blocks are lost to honest peers alone


@pytest.mark.parametrize(
    ("race", "races", "expected"),
    [
        (Race(0.3, 6, AttackStrategy.RESTARTING, half_life_blocks=10_000), 60, restarting_blocks(0.3, 6)),
        (Race(0.3, 6, AttackStrategy.EARLY), 60, best_attack(0.3, 6, 30).mean_blocks),
        (Race(0.3, 6, AttackStrategy.EARLY, stale_share=0.1), 60, best_attack(counted_share(0.3, 0.1), 6, 30).mean_blocks),
    ],
)
def test_the_chain_code_undoes_what_is_final_as_often_as_the_formula_says(race: Race, races: int, expected: float) -> None:
    measured = measure(race, races)
    assert measured.mean_blocks == pytest.approx(expected, abs=STANDARD_ERRORS * measured.error_blocks / finality.NORMAL_95)
    assert measured.error_blocks < expected / 2
    assert measured.seconds_per_block == pytest.approx(0.5, rel=0.1)
    assert RaceTrack(race).run(7) == RaceTrack(race).run(7)


def test_at_the_default_depth_thirty_percent_of_the_work_need_more_than_a_year() -> None:
    work = ChainRules()
    cell = ReversalTime(0.3, work.finality_depth, 0.1, work.half_life_blocks)
    assert seconds_of(mean_blocks(cell)) > YEAR_S
    assert seconds_of(mean_blocks(replace(cell, depth=16))) < 3_600  # as deep as was once thought to be enough


def test_the_depth_that_holds_is_the_least_one() -> None:
    cell = ReversalTime(0.2, 0, 0.0, 30)
    depth = depth_for(cell, 5_000.0, 20)
    assert depth is not None
    assert mean_blocks(replace(cell, depth=depth)) >= 5_000 > mean_blocks(replace(cell, depth=depth - 1))
    assert depth_for(cell, 1e300, 20) is None


def test_durations_have_two_digits() -> None:
    texts = [duration(seconds) for seconds in (0.5, 59.9, 754.0, 86_400.0 * 437, YEAR_S * 61.3, YEAR_S * 1e7)]
    assert texts == ["0.5 seconds", "60 seconds", "13 minutes", "1.2 years", "61 years", "> 10^6 years"]


def test_tables_and_plot_hold_what_was_computed_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finality, "RACES", (Race(0.4, 3, AttackStrategy.EARLY),))
    monkeypatch.setattr(finality, "SHARES", (0.2, 0.3))
    monkeypatch.setattr(finality, "YEARLY_SHARES", (0.1,))
    monkeypatch.setattr(finality, "DEPTHS", (3, 8))
    monkeypatch.setattr(finality, "FINALITY_DEPTH_MAX", 20)
    told: list[str] = []
    for _ in range(2):
        reproduce_finality(tmp_path, 12, 1, finality.PARTS, told.append)
    assert [line for line in told if "remembered" in line] == [
        "1 kinds of races, 0 of them remembered",
        "1 kinds of races, 1 of them remembered",
    ]
    rows = json.loads((tmp_path / "formula.json").read_text())["means"]
    assert rows[0]["mean_blocks"] == pytest.approx(best_attack(0.2, 3, 30).mean_blocks)
    assert f"| {duration(seconds_of(best_attack(0.3, 8, 30).mean_blocks))} " in (tmp_path / "formula.md").read_text()
    assert "| 12    |" in (tmp_path / "races.md").read_text()
    assert ElementTree.parse(tmp_path / "formula.svg").getroot().tag.endswith("svg")


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReproduceError, match="parts are races!, allowed formula, races"):
        reproduce_finality(tmp_path, 1, 1, ("races!",), lambda _: None)
