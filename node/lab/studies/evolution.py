"""What each strategy of evolution makes of the work of many: over a total order, by the number of members and of liars.

Counted in generations and in evaluations, not in seconds: `evolution_arena` has no network. Each part writes NAME.md, NAME.json
and, where there is something to draw, its plots. Goals are judged on training samples that are held back from training, or on
the training loss; the test accuracy is told beside them and decides nothing.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from learning.evolution.rules import Strategy
from learning.task import TaskError
from node.common.goal import MetricGoal
from node.lab.studies.evolution_arena import Curve, EvolutionCell, run_evolution
from node.lab.studies.evolution_tasks import studied_task
from node.lab.studies.plots import Line, check_request, line_plot, markdown_table, percent
from node.lab.studies.remembered import Study

PARTS = ("members", "liars", "shards", "tasks", "sizes")


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the tables."""

    strategy: Strategy
    effort: int = 2


VARIANTS = {
    "joint": Variant(Strategy.JOINT),
    "joint, λ alone": Variant(Strategy.JOINT, effort=1),
    "recombination": Variant(Strategy.RECOMBINATION),
    "plus": Variant(Strategy.PLUS),
    "comma": Variant(Strategy.COMMA),
}
"""With the presets of `node.rules.network_file`. Joint ranks 2 λ mutations, in time in which the others wait; or only λ."""

COMPARED = ("joint", "comma")
"""Where there are liars or shards."""

MEMBERS = (1, 2, 4, 8, 16)

LIARS, MEMBERS_WITH_LIARS = 2, 7
"""As many as seven members tolerate."""

GENERATIONS_MAX = 40
"""On digits: twice what the best rule needs alone."""

GENERATIONS_DRAWN = 15
"""No run on digits is shorter, so that its curve can be drawn."""

ACCURACY = MetricGoal("validation_accuracy", 0.9)
LOSS = MetricGoal("validation_loss", 0.3, is_lowest_best=True)
TRAINING_LOSS = MetricGoal("fitness", -0.3)
TEST_ACCURACY = MetricGoal("test_accuracy", 0.9)

DIGITS_GOALS = {
    "90 % of the validation part": ACCURACY,
    "validation loss 0.3": LOSS,
    "training loss 0.3": TRAINING_LOSS,
    "90 % of the test part": TEST_ACCURACY,
}

SHARDS, SHARD_GENERATIONS = "dirichlet:0.5", GENERATIONS_MAX

TASK_GOALS = {
    "wine": MetricGoal("fitness", -0.1),
    "cartpole": MetricGoal("fitness", 475.0),
    "rosenbrock": MetricGoal("fitness", -20.0),
    "emnist-digits": MetricGoal("fitness", -0.5),
    "cifar100": MetricGoal("fitness", -4.0),
}
"""Agreed fitness: minus the training loss, the mean return, minus the function's value. The last two where their files are."""

TASK_MEMBERS, TASK_GENERATIONS_MAX = 4, 300

OF_PICTURES = ("emnist-digits", "cifar100")
PICTURE_GENERATIONS_MAX, PICTURE_SEEDS_MAX = 20, 1
"""A generation of comma measures 256 convolutional networks on 4,096 pictures: many minutes of a core."""

SIZES = {"digits-large": (1, 4, 16), "digits-million": (1, 4)}
"""Numbers of members by model: 85,002 and 1,010,602 parameters."""

SIZE_SEEDS_MAX = 2
"""A generation of a million parameters takes four members a quarter of a minute of one core."""

SIZE_GENERATIONS_MAX = {"joint": 30, "comma": 10}
"""Comma is cut off: what ten generations bring tells how many it would need."""

Tell = Callable[[str], None]
Results = Mapping[EvolutionCell, Curve]
Run = Callable[[Sequence[EvolutionCell]], Results]


def reproduce_evolution(out: Path, seeds: int, processes: int, parts: tuple[str, ...], tell: Tell) -> None:
    """Write the tables and plots of `parts` to the folder `out`, telling each run as it ends.

    Runs are remembered in `out`/cells, so a second call goes on where the first was interrupted. Raises ReproduceError.
    """
    check_request(parts, PARTS, seeds, processes)
    out.mkdir(parents=True, exist_ok=True)
    study = Study(run_evolution, Curve, _line)

    def run(cells: Sequence[EvolutionCell]) -> Results:
        return study.results(cells, out / "cells", processes, tell)

    for part in parts:
        tell(f"part {part}")
        match part:
            case "members":
                write_members(out, run(members_cells(seeds)))
            case "liars":
                write_liars(out, run(liars_cells(seeds)))
            case "shards":
                write_shards(out, run(shards_cells(seeds)))
            case "tasks":
                write_tasks(out, run(tasks_cells(seeds, tell)))
            case _:
                write_sizes(out, run(sizes_cells(seeds)))
        tell(f"wrote {out / part}.md")


def _line(cell: EvolutionCell, curve: Curve) -> str:
    name = f"{cell.task}, {cell.strategy}, {cell.members} members, seed {cell.seed}"
    return f"{name}: fitness {curve.figures[-1]['fitness']:.3f} after {len(curve.figures) - 1} generations"


# --- what is run ----------------------------------------------------------------------------------------------------


def digits_cell(variant: str, members: int, seed: int) -> EvolutionCell:
    """Honest members who have all samples; until all goals are reached."""
    chosen, goals = VARIANTS[variant], tuple(DIGITS_GOALS.values())
    cell = EvolutionCell("digits", chosen.strategy, members, seed, GENERATIONS_MAX, goals, GENERATIONS_DRAWN)
    return replace(cell, effort=chosen.effort)


def members_cells(seeds: int) -> list[EvolutionCell]:
    """Every variant with every number of members."""
    return [digits_cell(variant, members, seed) for seed in range(seeds) for variant in VARIANTS for members in MEMBERS]


def liars_cells(seeds: int) -> list[EvolutionCell]:
    """Joint and comma without liars and with them."""
    return [
        replace(digits_cell(variant, MEMBERS_WITH_LIARS, seed), liars=liars)
        for seed in range(seeds)
        for variant in COMPARED
        for liars in (0, LIARS)
    ]


def shards_cells(seeds: int) -> list[EvolutionCell]:
    """All members together by either rule, and each of them alone; as many generations each."""
    whole = [
        replace(digits_cell(variant, MEMBERS_WITH_LIARS, seed), goals=(), generations_max=SHARD_GENERATIONS)
        for seed in range(seeds)
        for variant in COMPARED
    ]
    shared = [replace(cell, shards=SHARDS, shard_count=MEMBERS_WITH_LIARS) for cell in whole]
    alone = [replace(cell, members=1, first_shard=shard) for cell in shared for shard in range(MEMBERS_WITH_LIARS)]
    return [*shared, *alone]


def tasks_cells(seeds: int, tell: Tell) -> list[EvolutionCell]:
    """Every variant on every task that can be loaded here."""
    here = {task: goal for task, goal in TASK_GOALS.items() if _is_here(task, tell)}
    return [
        replace(EvolutionCell(task, chosen.strategy, TASK_MEMBERS, seed, task_limit(task), (goal,)), effort=chosen.effort)
        for seed in range(seeds)
        for task, goal in here.items()
        if task not in OF_PICTURES or seed < PICTURE_SEEDS_MAX
        for chosen in VARIANTS.values()
    ]


def task_limit(task: str) -> int:
    """Generations, after which the goal counts as never reached."""
    return PICTURE_GENERATIONS_MAX if task in OF_PICTURES else TASK_GENERATIONS_MAX


def sizes_cells(seeds: int) -> list[EvolutionCell]:
    """Joint and comma on larger models; the cheapest first."""
    return [
        replace(EvolutionCell(task, chosen.strategy, members, seed, limit, (ACCURACY, LOSS)), effort=chosen.effort)
        for task, numbers in SIZES.items()
        for variant, limit in SIZE_GENERATIONS_MAX.items()
        for members in numbers
        for seed in range(min(seeds, SIZE_SEEDS_MAX))
        for chosen in (VARIANTS[variant],)
    ]


def _is_here(task: str, tell: Tell) -> bool:
    try:
        studied_task(task)
    except TaskError as error:
        tell(f"without {task}: {error}")
        return False
    return True


# --- what it shows --------------------------------------------------------------------------------------------------


def write_members(out: Path, results: Results) -> None:
    """The table, and the plots that show at once whether more members learn faster."""
    rows = [
        (
            variant,
            *(" / ".join(_generations(results, variant, members, goal) for goal in (ACCURACY, LOSS)) for members in MEMBERS),
        )
        for variant in VARIANTS
    ]
    head = ("strategy", *(f"n = {members}" for members in MEMBERS))
    others = [
        (variant, name, *(_generations(results, variant, members, goal) for members in MEMBERS))
        for name, goal in list(DIGITS_GOALS.items())[2:]
        for variant in VARIANTS
    ]
    work = [(variant, *(_evaluations(results, variant, members) for members in MEMBERS)) for variant in VARIANTS]
    tables = (
        markdown_table(head, rows),
        f"## Other goals\n\n{markdown_table(('strategy', 'goal', *head[1:]), others)}",
        f"## Thousands of evaluations a member and generation\n\n{markdown_table(head, work)}",
    )
    title = "Generations on digits to 90 % of the validation part / validation loss 0.3, medians"
    _write(out / "members", title, "\n".join(tables), results)
    lines = [
        Line(f"{members} member{'s' if members > 1 else ''}", _median_curve(_cells(results, "joint", members)))
        for members in MEMBERS
    ]
    title = "Joint evolution on digits: more members learn faster"
    (out / "curves.svg").write_text(line_plot(title, "generations", "% of the validation part", lines))
    lines = [Line(variant, _goal_points(results, variant)) for variant in VARIANTS]
    title = "Generations to 90 % of the validation part"
    (out / "members.svg").write_text(line_plot(title, "members", "generations", lines))


def write_liars(out: Path, results: Results) -> None:
    """How much longer it takes with them."""
    rows = []
    for variant in COMPARED:
        for name, goal in list(DIGITS_GOALS.items())[:2]:
            honest, lying = (
                _median(_cells(results, variant, MEMBERS_WITH_LIARS, liars=liars).values(), goal) for liars in (0, LIARS)
            )
            ratio = f"{lying / honest:.2f}" if honest <= GENERATIONS_MAX and lying <= GENERATIONS_MAX else ""
            rows.append((variant, name, _count(honest), _count(lying), ratio))
    head = ("strategy", "goal", "nobody lies", f"{LIARS} lie", "times")
    title = f"Generations of {MEMBERS_WITH_LIARS} members on digits, medians; liars turn their lists and scores round"
    _write(out / "liars", title, markdown_table(head, rows), results)


def write_shards(out: Path, results: Results) -> None:
    """All together against the member who is best alone, by the validation part."""
    rows = []
    for variant in COMPARED:
        shared = _cells(results, variant, MEMBERS_WITH_LIARS)
        for cell, curve in shared.items():
            alone = [results[replace(cell, members=1, first_shard=shard)] for shard in range(MEMBERS_WITH_LIARS)]
            best = max(alone, key=lambda one: one.figures[-1]["validation_accuracy"])
            found = [one.figures[-1][metric] for metric in ("validation_accuracy", "test_accuracy") for one in (curve, best)]
            rows.append((variant, str(cell.seed), *(percent(share) for share in found)))
    head = ("strategy", "seed", "validation: together", "best alone", "test: together", "best alone")
    title = f"Accuracy after {SHARD_GENERATIONS} generations on digits, {MEMBERS_WITH_LIARS} members with shards of {SHARDS}"
    _write(out / "shards", title, markdown_table(head, rows), results)


def write_tasks(out: Path, results: Results) -> None:
    """What each strategy costs until the goal, at its defaults."""
    tasks = list(dict.fromkeys(cell.task for cell in results))
    rows = []
    for variant in VARIANTS:
        row = [variant]
        for task in tasks:
            goal = TASK_GOALS[task]
            curves = _cells(results, variant, TASK_MEMBERS, task=task).values()
            limit = task_limit(task)
            generations = _median(curves, goal, limit)
            spent = statistics.median(curve.evaluations_to(goal) or curve.evaluations[-1] for curve in curves)
            is_reached = generations <= limit
            row.append(f"{'' if is_reached else '> '}{spent / 1_000:,.0f} ({_count(generations, limit)})")
        rows.append(row)
    head = ("strategy", *(f"{task} to {TASK_GOALS[task].value:g}" for task in tasks))
    title = f"Thousands of evaluations (generations) of {TASK_MEMBERS} members to an agreed fitness, medians"
    _write(out / "tasks", title, markdown_table(head, rows), results)


def write_sizes(out: Path, results: Results) -> None:
    """How many generations larger models take."""
    rows = []
    for task, numbers in SIZES.items():
        for variant, limit in SIZE_GENERATIONS_MAX.items():
            for members in numbers:
                curves = list(_cells(results, variant, members, task=task).values())
                reached = (_count(_median(curves, goal, limit), limit) for goal in (ACCURACY, LOSS))
                ends = (statistics.median(curve.figures[-1][goal.metric] for curve in curves) for goal in (ACCURACY, LOSS))
                rows.append((task, variant, str(members), *reached, "{:.1%}, {:.2f}".format(*ends)))
    head = ("model", "strategy", "members", "90 %", "loss 0.3", "accuracy and loss at the end")
    title = "Generations of larger models to goals on the validation part, medians"
    _write(out / "sizes", title, markdown_table(head, rows), results)


def _cells(results: Results, variant: str, members: int, task: str = "digits", liars: int = 0) -> Results:
    chosen = VARIANTS[variant]
    wanted = (task, chosen.strategy, chosen.effort, members, liars)
    return {
        cell: curve
        for cell, curve in results.items()
        if (cell.task, cell.strategy, cell.effort, cell.members, cell.liars) == wanted
    }


def _median(curves: Iterable[Curve], goal: MetricGoal, never: int = GENERATIONS_MAX) -> float:
    """Of the generations to the goal; a run that never got there counts as longer than the longest."""
    found = (curve.generations_to(goal) for curve in curves)
    return statistics.median(never + 1 if generations is None else generations for generations in found)


def _count(generations: float, never: int = GENERATIONS_MAX) -> str:
    return f"> {never}" if generations > never else f"{generations:g}"


def _generations(results: Results, variant: str, members: int, goal: MetricGoal) -> str:
    return _count(_median(_cells(results, variant, members).values(), goal))


def _evaluations(results: Results, variant: str, members: int) -> str:
    curves = _cells(results, variant, members).values()
    return (
        f"{statistics.median(curve.evaluations[-1] / (len(curve.evaluations) - 1) for curve in curves) / members / 1_000:.0f}"
    )


def _goal_points(results: Results, variant: str) -> tuple[tuple[float, float], ...]:
    """Where at least half of the runs got there."""
    medians = ((members, _median(_cells(results, variant, members).values(), ACCURACY)) for members in MEMBERS)
    return tuple((float(members), median) for members, median in medians if median <= GENERATIONS_MAX)


def _median_curve(results: Results) -> tuple[tuple[float, float], ...]:
    """As far as all runs go."""
    runs = [[100 * figures["validation_accuracy"] for figures in curve.figures] for curve in results.values()]
    return tuple((float(number), statistics.median(found)) for number, found in enumerate(zip(*runs, strict=False)))


def _write(file: Path, title: str, text: str, results: Results) -> None:
    file.with_suffix(".md").write_text(f"# {title}\n\n{text}")
    facts = [
        {"cell": asdict(cell), "last": curve.figures[-1], "generations": len(curve.figures) - 1}
        | {f"to {goal.metric} {goal.value:g}": curve.generations_to(goal) for goal in cell.goals}
        for cell, curve in results.items()
    ]
    file.with_suffix(".json").write_text(json.dumps({"title": title, "rows": facts}, indent=1))
