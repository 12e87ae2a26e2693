"""The comparison of strategies at its smallest: real learners, tables that hold what was measured, runs that are remembered."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learning.evolution.joint_submission import ScoresAndList, decode_joint, encode_joint
from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate
from learning.evolution.ranked_list import RankedList
from learning.evolution.recipe import Recipe
from learning.evolution.rules import Strategy
from learning.model_consensus.slate import Scores
from learning.tasks.heterogeneous import ShardedTask
from learning.tasks.images import FOLDER_VARIABLE
from learning.tasks.shards import parse_shards, rows_for
from node.common.goal import MetricGoal
from node.lab.studies import evolution
from node.lab.studies.evolution import (
    LIARS,
    MEMBERS,
    SHARD_GENERATIONS,
    SHARDS,
    VARIANTS,
    digits_cell,
    liars_cells,
    members_cells,
    reproduce_evolution,
    shards_cells,
    sizes_cells,
    tasks_cells,
    write_liars,
    write_members,
    write_shards,
    write_sizes,
)
from node.lab.studies.evolution_arena import Curve, EvolutionCell, lie, run_evolution
from node.lab.studies.evolution_tasks import MeasuredOnce, ValidatedDigits, labels_of, studied_task, wine
from node.lab.studies.plots import ReproduceError
from node.rules.network_file import evolution_for
from tests.learning.tasks.picture_files import emnist_files

WINE = EvolutionCell("wine", "joint", 2, 0, 4)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_two_members_learn_by_every_strategy(strategy: Strategy) -> None:
    curve = run_evolution(replace(WINE, strategy=strategy))
    assert len(curve.figures) == len(curve.evaluations) == 5
    assert curve.figures[-1]["fitness"] > curve.figures[0]["fitness"]
    assert curve.evaluations == sorted(set(curve.evaluations))
    assert curve == run_evolution(replace(WINE, strategy=strategy))


def test_a_run_ends_at_its_goals_but_not_before_its_least_generations() -> None:
    first = run_evolution(WINE).figures[1]["fitness"]
    goal = MetricGoal("fitness", first)
    assert len(run_evolution(replace(WINE, goals=(goal,))).figures) == 2
    assert len(run_evolution(replace(WINE, goals=(goal,), generations_min=3)).figures) == 4
    assert len(run_evolution(replace(WINE, goals=(goal, MetricGoal("fitness", 0.0)))).figures) == 5


@pytest.mark.parametrize("strategy", list(Strategy))
def test_the_honest_learn_beside_liars(strategy: Strategy) -> None:
    curve = run_evolution(replace(WINE, strategy=strategy, members=4, liars=1))
    assert curve.figures[-1]["fitness"] > curve.figures[0]["fitness"]


def test_a_lie_turns_lists_and_scores_round() -> None:
    scores, turned = Scores(bytes(32), (5, -3)), Scores(bytes(32), (-5, 3))
    joint, plus = evolution_for(Strategy.JOINT), evolution_for(Strategy.PLUS)
    up, down = RankedList(tuple(range(64))), RankedList(tuple(range(63, -1, -1)))
    for told, meant in ((up, down), (scores, turned), (ScoresAndList(scores, 1, up), ScoresAndList(turned, 1, down))):
        assert decode_joint(lie(encode_joint(told), joint, 4), 64) == meant
    assert decode_submission(lie(encode_submission(scores), plus, 4), 1, 4) == turned
    candidate = encode_submission(Candidate(Recipe((7,)), 0))
    assert lie(candidate, plus, 4) == candidate


def test_members_with_unequal_shards_see_their_own_samples_and_agree() -> None:
    task = wine()
    rows = rows_for(labels_of(task), parse_shards(SHARDS), 2, 1, bytes(32))
    own = ShardedTask(MeasuredOnce(task), rows)
    assert sorted(own.draw_batch(bytes(32)).tolist()) == rows.tolist()
    shared = replace(WINE, shards=SHARDS, shard_count=2)
    alone = run_evolution(replace(shared, members=1, first_shard=1))
    assert run_evolution(shared).figures[-1] != alone.figures[-1]


def test_nothing_is_measured_twice_and_all_is_counted() -> None:
    task = MeasuredOnce(wine())
    batch = task.draw_batch(bytes(32))
    model = np.zeros(sum(block.size for block in task.layout), dtype=np.float32)
    assert task.scores(model[None], batch) is task.scores(model[None], batch)
    assert task.fitness(model, batch) == task.fitness(model, batch)
    assert task.metrics(model) is task.metrics(model)
    assert task.sample_evaluations == 4 * len(batch)
    before = task.metrics(model)
    task.forget()
    assert task.metrics(model) is not before


def test_digits_hold_back_a_part_that_nobody_trains_on() -> None:
    task = ValidatedDigits("digits")
    assert len(task.draw_batch(bytes(32))) == len(labels_of(task)) == 1_150
    model = np.zeros(sum(block.size for block in task.layout), dtype=np.float32)
    assert set(task.metrics(model)) == {"validation_accuracy", "validation_loss", "test_accuracy"}


# --- tables ---------------------------------------------------------------------------------------------------------


def curve_to(generations: int) -> Curve:
    """One that reaches every goal with this generation."""
    before = {"fitness": -2.3, "validation_accuracy": 0.1, "validation_loss": 2.3, "test_accuracy": 0.1}
    after = {"fitness": -0.2, "validation_accuracy": 0.92, "validation_loss": 0.25, "test_accuracy": 0.91}
    return Curve([before] * generations + [after], [10_000 * number for number in range(generations + 1)])


def test_the_tables_tell_medians_and_who_never_got_there(tmp_path: Path) -> None:
    results = {cell: curve_to(32 // cell.members + cell.seed) for cell in members_cells(3)}
    results |= {
        cell: Curve(curve_to(50).figures[:41], curve_to(40).evaluations) for cell in results if cell.strategy == "comma"
    }
    write_members(tmp_path, results)
    rows = (tmp_path / "members.md").read_text().splitlines()
    assert [text.strip() for text in rows[4].split("|")[1:-1]] == ["joint", "33 / 33", "17 / 17", "9 / 9", "5 / 5", "3 / 3"]
    assert "> 40 / > 40" in rows[8]
    assert "more members learn faster" in (tmp_path / "curves.svg").read_text()
    assert "16 members" in (tmp_path / "curves.svg").read_text()
    assert len(json.loads((tmp_path / "members.json").read_text())["rows"]) == 3 * len(VARIANTS) * len(MEMBERS)


def test_the_price_of_liars_is_told_as_a_ratio(tmp_path: Path) -> None:
    write_liars(tmp_path, {cell: curve_to(12 if cell.liars else 8) for cell in liars_cells(1)})
    assert "| 8           | 12    | 1.50  |" in (tmp_path / "liars.md").read_text()


def test_a_shard_is_judged_by_the_validation_part(tmp_path: Path) -> None:
    results = {cell: curve_to(8) for cell in shards_cells(1)}
    worse = replace(
        digits_cell("joint", 1, 0), goals=(), generations_max=SHARD_GENERATIONS, shards=SHARDS, shard_count=7, first_shard=3
    )
    figures = {**curve_to(8).figures[-1], "validation_accuracy": 0.99, "test_accuracy": 0.5}
    assert worse in results
    results[worse] = Curve([figures], [0])
    write_shards(tmp_path, results)
    assert (
        "| joint    | 0    | 92.0 %               | 99.0 %     | 91.0 %         | 50.0 %     |"
        in (tmp_path / "shards.md").read_text()
    )


def test_larger_models_have_their_goals_and_comma_a_limit(tmp_path: Path) -> None:
    write_sizes(tmp_path, {cell: curve_to(8 if cell.strategy == "joint" else 11) for cell in sizes_cells(3)})
    text = (tmp_path / "sizes.md").read_text()
    assert "| digits-million | joint    | 4       | 8    | 8        | 92.0%, 0.25" in text
    assert "| digits-large   | comma    | 16      | > 10 | > 10     | 92.0%, 0.25" in text
    assert {cell.seed for cell in sizes_cells(3)} == {0, 1}


@pytest.mark.parametrize(("name", "parameters"), [("digits-large", 85_002), ("digits-million", 1_010_602)])
def test_larger_models_hold_back_the_same_part(name: str, parameters: int) -> None:
    task = ValidatedDigits(name)
    assert sum(block.size for block in task.layout) == parameters
    assert (labels_of(task) == labels_of(ValidatedDigits("digits"))).all()


def test_every_planned_cell_is_another() -> None:
    cells = [*members_cells(2), *(cell for cell in liars_cells(2) if cell.liars == LIARS), *shards_cells(2), *sizes_cells(2)]
    assert len({cell.key for cell in cells}) == len(set(cells)) == len(cells)


def test_a_part_is_run_remembered_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        evolution, "TASK_GOALS", {"wine": MetricGoal("fitness", -1.0), "emnist-digits": MetricGoal("fitness", -1.0)}
    )
    monkeypatch.setattr(evolution, "TASK_GENERATIONS_MAX", 2)
    monkeypatch.setattr(evolution, "VARIANTS", {"joint": VARIANTS["joint"]})
    told: list[str] = []
    reproduce_evolution(tmp_path, 1, 1, ("tasks",), told.append)
    assert "wine to -1" in (tmp_path / "tasks.md").read_text()
    assert any(line.startswith("without emnist-digits: ") for line in told)
    (cell,) = tasks_cells(1, told.append)
    assert json.loads((tmp_path / "cells" / f"{cell.key}.json").read_text())["result"]["figures"]
    reproduce_evolution(tmp_path, 1, 1, ("tasks",), told.append)
    assert told[-2] == "1 runs, 1 of them remembered"


def test_pictures_are_compared_where_their_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random ones. Without the files it says which is absent, and runs the other tasks."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(evolution, "TASK_GOALS", {"emnist-digits": MetricGoal("fitness", -0.1)})
    told: list[str] = []
    assert tasks_cells(1, told.append) == []
    assert told[0].startswith("without emnist-digits: task 'emnist-digits': there is no file emnist-digits-train-images-idx3")
    emnist_files(tmp_path, "digits", first=0, classes=10)
    monkeypatch.setattr(evolution, "VARIANTS", {variant: VARIANTS[variant] for variant in ("joint", "comma")})
    monkeypatch.setattr(evolution, "PICTURE_GENERATIONS_MAX", 1)
    reproduce_evolution(tmp_path / "out", 3, 1, ("tasks",), told.append)
    assert "2 runs, 0 of them remembered" in told
    text = (tmp_path / "out" / "tasks.md").read_text()
    assert "emnist-digits to -0.1" in text
    assert text.count("(> 1)") == 2
    studied_task.cache_clear()


def test_what_cannot_be_reproduced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReproduceError, match="parts are speed, allowed members, liars, shards, tasks, sizes"):
        reproduce_evolution(tmp_path, 1, 1, ("speed",), print)
