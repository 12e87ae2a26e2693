"""What liars cost a network that evolves jointly over a total order: generations to a goal, against the same without them.

    python -m benchmarks.joint_liars [--seeds 3] [--fault NAME ...]

Real tasks, learners and faults of the catalogue; the order is a list of commits. In each commit stands what everybody has
found since the one before, the liars' first: so their lists are always on the slate, and their scores always count.
"""

import hashlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import click

from learning.evolution.pace import stands_still
from learning.evolution.rules import Strategy
from learning.evolution.search import SearchSettings
from learning.learner import (
    AdoptRequest,
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    GenerationDecided,
    Learner,
    Participant,
    StepAdopted,
)
from learning.task import Task
from learning.tasks.loading import load_task
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.processes.learner import LearnerSpec, make_learner
from node.rules.network_file import evolution_for

MEMBERS, LIARS = 7, 2
ACCURACY, LOSS = 0.9, 0.3
GENERATIONS_MAX = 60
COMMITS_MAX = 8 * GENERATIONS_MAX
EFFORT = SearchSettings(effort_min=2, effort_max=2)
"""Nobody waits for anybody here."""

FAULTS = (
    "",
    "worst-candidate",
    "reversed-lists",
    "poor-lists",
    "wrong-winner",
    "stolen-candidate",
    "unverifiable-index",
    "free-rider",
    "scores-inverted",
    "colluding-scorers",
    "reversed-lists+scores-inverted",
    "reversed-lists+colluding-scorers",
)
"""The empty one: nobody lies."""


class NoGradients:
    """Evolution has no large payloads. Implements `learning.gradient.ledger.Gradients`."""

    def payload(self, digest: bytes) -> bytes | None:
        """None."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Generations to the goals; more than GENERATIONS_MAX stands for never."""

    accuracy: int
    loss: int
    liars_won: int
    """Generations that an entry of a liar has won."""


def members_of(seed: int) -> tuple[bytes, ...]:
    """Ids."""
    return tuple(hashlib.blake2b(f"joint {seed}/{number}".encode(), digest_size=32).digest() for number in range(MEMBERS))


def run(task: Task, fault: str, seed: int) -> Reached:
    """One network, until both goals are reached."""
    members = members_of(seed)
    liars = members[:LIARS] if fault else ()
    genesis = hashlib.blake2b(f"genesis {seed}".encode(), digest_size=32).digest()
    rules = evolution_for(Strategy.JOINT)
    learners: dict[bytes, Learner] = {}
    for author in members:
        participant = Participant(genesis, author, genesis, members)
        make = MakeFaultyLearner(fault, liars) if author in liars else make_learner
        spec = LearnerSpec(task.name, "", rules, participant, None, EFFORT, clock=stands_still)
        learners[author] = make(task, spec, NoGradients())
        learners[author].handle(AdoptRequest(genesis))
    accuracy = loss = GENERATIONS_MAX + 1
    liars_won = height = 0
    for commit in commits(learners, genesis):
        for author in members:
            for answer in learners[author].handle(DeliverRequest(commit)):
                if author != members[-1]:
                    continue
                if isinstance(answer, GenerationDecided):
                    liars_won += answer.slate[answer.winner].author in liars
                elif isinstance(answer, StepAdopted):
                    height = answer.height
                    accuracy = min(accuracy, height) if answer.metrics["test_accuracy"] >= ACCURACY else accuracy
                    loss = min(loss, height) if -answer.fitness <= LOSS else loss
        if height >= GENERATIONS_MAX or max(accuracy, loss) <= height:
            break
    return Reached(accuracy, loss, liars_won)


def commits(learners: dict[bytes, Learner], genesis: bytes) -> Iterator[DeliveredStep]:
    """What all have found, one commit after the other."""
    parent = genesis
    for height in range(1, COMMITS_MAX + 1):
        items = tuple(item for author, learner in learners.items() for item in found_by(author, learner))
        step = DeliveredStep(hashlib.blake2b(parent, digest_size=32).digest(), parent, height, items)
        yield step
        parent = step.id


def found_by(author: bytes, learner: Learner) -> Iterator[AuthoredPayload]:
    """Until nothing is left to search."""
    while learner.is_searching:
        for answer in learner.search():
            if isinstance(answer, ContributionFound):
                digest = hashlib.blake2b(author + answer.base + answer.payload, digest_size=32).digest()
                yield AuthoredPayload(digest, author, answer.base, answer.payload)


@click.command()
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--fault", "faults", multiple=True, help="Instead of all; an empty text: nobody lies.")
def main(seeds: int, faults: tuple[str, ...]) -> None:
    """Print the table."""
    task = load_task("digits")
    click.echo(f"{MEMBERS} members, {LIARS} liars, digits: generations to {ACCURACY:.0%}, to loss {LOSS:g}, won by liars\n")
    click.echo("| fault | 90 % | loss 0.3 | seeds | won by liars |\n|---|---|---|---|---|")
    for fault in faults or FAULTS:
        reached = [run(task, fault, seed) for seed in range(seeds)]
        accuracy, loss = (statistics.median(getattr(one, goal) for one in reached) for goal in ("accuracy", "loss"))
        each = " ".join(f"{one.accuracy}/{one.loss}" for one in reached)
        won = " ".join(str(one.liars_won) for one in reached)
        click.echo(f"| {fault or 'nobody lies'} | {accuracy:g} | {loss:g} | {each} | {won} |")


if __name__ == "__main__":
    main()
