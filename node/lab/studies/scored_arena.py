"""Members whose steps everybody scores, without a network: real tasks, learners and faults; the order is a list of commits.

The order is the liars' best case: their gradients are made after most of the honest ones were heard and are always on the
slate, and their scores are always among the n-f that count. Equal arguments give equal runs on one machine.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from msgspec import structs

from learning.aggregation.quantised import payload_digest
from learning.evolution.generations import Generations
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.line import LineLearner
from learning.gradient.ledger import Gradients, GradientSubmission
from learning.gradient.rules import GradientRules
from learning.gradient.scored_slate import StepEntry, encode_scored
from learning.gradient.step_candidates import StepCandidates
from learning.gradient.worker import MakeWorker, Worker
from learning.learner import (
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    GenerationDecided,
    Learner,
    LearnerAnswer,
    Participant,
    SlateEntry,
    StepAdopted,
    quorum,
)
from learning.model_consensus.slate import Scores
from learning.task import DifferentiableTask, Float32Array, Minibatch
from learning.tasks.shards import OwnSamples, Shards, rows_for
from node.lab.faults.gradient.conduct import Conduct, HonestConduct, Submitted
from node.lab.faults.gradient.lying_learner import Liar

RULES = GradientRules(
    rule="scored",
    learning_rate="2",
    momentum="0.9",
    minibatch_size=32,
    bits=16,
    staleness_max=1,
    workers_window=1,
    shards="whole",
    shard_count=0,
)
"""Of these, the learning rate, the momentum, the minibatch size and the bits matter here."""


@dataclass(slots=True)
class ScoredTrace:
    """What a run did; the lists have an item for the first model, and one for each generation."""

    accuracy: list[float] = field(default_factory=list)
    """Test accuracy, as a share."""
    deliveries: list[int] = field(default_factory=list)
    """Gradients delivered by then."""
    winners: Counter[str] = field(default_factory=Counter)
    """How often: "honest", "liar", "mean", "median", "no change"."""
    parameters: Float32Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """Of the last model."""

    @property
    def last_accuracy(self) -> float:
        """At the end."""
        return self.accuracy[-1]

    def generations_to(self, goal: float) -> int | None:
        """Until the accuracy was first as high; None: never."""
        return next((number for number, accuracy in enumerate(self.accuracy) if accuracy >= goal), None)

    def deliveries_to(self, goal: float) -> int | None:
        """The same in gradients."""
        generation = self.generations_to(goal)
        return None if generation is None else self.deliveries[generation]


def member_id(number: int, seed: int) -> bytes:
    """The key of a member of a run, e.g. for liars that know one another."""
    return hashlib.blake2b(f"scored member {number} of {seed}".encode(), digest_size=32).digest()


def run_scored(  # noqa: PLR0917 - each is another thing
    task: DifferentiableTask,
    members: int,
    liars: Mapping[int, Conduct],
    generations: int,
    seed: int,
    shards: Shards,
    *,
    rules: GradientRules = RULES,
    lies_from: int = 0,
) -> ScoredTrace:
    """So many generations. `liars`: by their number; they lie in their scores, too, from delivery `lies_from` on."""
    arena = _Arena(task, members, liars, seed, structs.replace(rules, shards=str(shards), shard_count=members), shards)
    for _ in range(generations):
        arena.generation(is_lying=arena.trace.deliveries[-1] >= lies_from)
    arena.trace.parameters = arena.parameters
    return arena.trace


class _Turncoat:
    """Honest at first; hears all from the start. Implements `Conduct`."""

    names_newest_model = False

    def __init__(self, faulty: Conduct) -> None:
        self.name = faulty.name
        self.is_lying = False
        self._faulty = faulty
        self._honest = HonestConduct()

    @property
    def _conduct(self) -> Conduct:
        return self._faulty if self.is_lying else self._honest

    def minibatch(self, minibatch: Minibatch) -> Minibatch:
        """As the conduct of the moment does."""
        return self._conduct.minibatch(minibatch)

    def on_gradient(self, author: bytes, gradient: Float32Array) -> None:
        """For the time when it lies."""
        self._faulty.on_gradient(author, gradient)

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        """As the conduct of the moment does."""
        return self._conduct.submissions(own)


class _Payloads:
    """Held by digest."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}

    def payload(self, digest: bytes) -> bytes | None:
        """The bytes, or None."""
        return self.held.get(digest)


class _Arena:
    def __init__(  # noqa: PLR0917 - each is another thing
        self,
        task: DifferentiableTask,
        members: int,
        liars: Mapping[int, Conduct],
        seed: int,
        rules: GradientRules,
        shards: Shards,
    ) -> None:
        self.trace = ScoredTrace()
        self._ids = tuple(member_id(number, seed) for number in range(members))
        self._turncoats = {number: _Turncoat(conduct) for number, conduct in liars.items()}
        self._honest = [number for number in range(members) if number not in liars]
        self._random = np.random.default_rng(seed)
        self._payloads = _Payloads()
        self._height = 0
        network_id = hashlib.blake2b(f"scored arena {seed}".encode(), digest_size=32).digest()
        self._models: list[Generations[GradientSubmission, StepEntry]] = []
        """What each member's learner holds, whatever it says."""
        self._learners: list[Learner] = []
        for number, author in enumerate(self._ids):
            rows = OwnSamples(task, rows_for(task.sample_labels, shards, members, number, network_id), author)
            make = partial(self._learner, task, rules, network_id, author, rows)
            turncoat = self._turncoats.get(number)
            if turncoat is None:
                self._learners.append(make(self._payloads, Worker))
            else:
                self._learners.append(Liar(author, turncoat, task.layout, rules.bits).learner(self._payloads, make))
        self._note_model(task.metrics(self.parameters)["test_accuracy"])

    def _learner(  # noqa: PLR0917 - each is another thing
        self,
        task: DifferentiableTask,
        rules: GradientRules,
        network_id: bytes,
        author: bytes,
        rows: OwnSamples,
        gradients: Gradients,
        make_worker: MakeWorker,
    ) -> Learner:
        participant = Participant(network_id, author, bytes(32), self._ids)
        generations = Generations(StepCandidates(task, rules, participant, gradients, rows, make_worker), participant)
        self._models.append(generations)
        return LineLearner(generations, None)

    @property
    def parameters(self) -> Float32Array:
        """Of the agreed model."""
        return self._models[0].head.model.parameters

    def generation(self, *, is_lying: bool) -> None:
        """One: the gradients in two commits, the scores in a third."""
        for turncoat in self._turncoats.values():
            turncoat.is_lying = is_lying
        self._payloads.held.clear()
        early = self._honest[: quorum(len(self._ids)) - 1]
        late = self._honest[len(early) :]
        self._commit(self._work(early))
        self._commit(self._work([*self._turncoats, *late]))
        scorers = self._random.permutation(self._honest)[: quorum(len(self._ids)) - len(self._turncoats)]
        self._commit(self._work([*self._turncoats, *map(int, scorers)]))

    def _work(self, numbers: Sequence[int]) -> list[AuthoredPayload]:
        items = []
        for number in numbers:
            learner = self._learners[number]
            while learner.is_searching:
                found = [answer for answer in learner.search() if isinstance(answer, ContributionFound)]
                items += [self._sign(number, answer) for answer in found]
                if found:
                    break
        return items

    def _sign(self, number: int, found: ContributionFound) -> AuthoredPayload:
        attached = tuple((payload_digest(content), len(content)) for content in found.large)
        self._payloads.held.update({payload_digest(content): content for content in found.large})
        payload = found.payload if attached else self._scores(number, found.payload)
        digest = hashlib.blake2b(self._ids[number] + found.base + payload, digest_size=32).digest()
        return AuthoredPayload(digest, self._ids[number], found.base, payload, attached)

    def _scores(self, number: int, honest: bytes) -> bytes:
        """A liar's: the best for what liars have put up, the worst for all else."""
        slate = self._models[number].consensus.slate
        if slate is None or number not in self._turncoats or not self._turncoats[number].is_lying:
            return honest
        own = {self._ids[liar] for liar in self._turncoats}
        values = tuple(FITNESS_MAX if entry.author in own else FITNESS_LOWEST for entry in slate.entries)
        return encode_scored(Scores(slate.digest, values))

    def _commit(self, items: Sequence[AuthoredPayload]) -> None:
        self._height += 1
        step = DeliveredStep(self._height.to_bytes(32, "big"), bytes(32), self._height, tuple(items))
        answers = [learner.handle(DeliverRequest(step)) for learner in self._learners]
        self._note(answers[0])

    def _note(self, answers: tuple[LearnerAnswer, ...]) -> None:
        for answer in answers:
            match answer:
                case StepAdopted():
                    self._note_model(answer.metrics["test_accuracy"])
                case GenerationDecided():
                    self.trace.winners[self._kind(answer.slate[answer.winner])] += 1
                case _:
                    pass

    def _kind(self, entry: SlateEntry) -> str:
        if entry.author is None:
            return entry.label.partition(",")[0] or "no change"
        return "liar" if self._ids.index(entry.author) in self._turncoats else "honest"

    def _note_model(self, accuracy: float) -> None:
        delivered = len(self._payloads.held) + (self.trace.deliveries[-1] if self.trace.deliveries else 0)
        self.trace.deliveries.append(delivered)
        self.trace.accuracy.append(accuracy)
