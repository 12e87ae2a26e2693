"""What one part forgets no other part believes held: a replica, its ordering machine and its learner, without a shell."""

import hashlib
from collections import deque
from collections.abc import Iterable

import numpy as np

from consensus.effects import FetchAttachment, FetchState, Record
from consensus.encoding import encode
from consensus.protocol import AttachmentHeld, FetchFailed, Input, PeerJoined, Received, StateHeld, TimerFired
from consensus.steps import Attachment
from consensus.total_order.block import BlockContribution, Checkpoint
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.total_order.messages import BlockMessage
from consensus.types import Digest, Instant, PeerId
from learning.aggregation.quantised import payload_digest, quantise
from learning.aggregation.rule import GradientOutcome
from learning.following.line import LineLearner
from learning.gradient.ledger import GradientSubmission, encode_submission
from learning.gradient.stream import GradientStream
from learning.learner import ContributionFound, GradientsReport, LearnerAnswer, Participant, StateKept, StepAdopted
from learning.state import checkpoint_digest, encode_kept_state
from learning.tasks.shards import OwnSamples
from node.runtime.composition import TOTAL_ORDER_TABLES
from node.runtime.coupling import AskLearner, Coupling, Forget, OuterEffect
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, PAYLOAD_TABLE, checkpoint_key
from tests.consensus.total_order.forge import NETWORK, START_MS, Forge, Forged, people
from tests.learning.gradient.quadratic import LAYOUT, QuadraticTask, rules

MEMBERS = people(4)
LIAR = 3
OBSERVER = PeerId(hashlib.blake2b(b"observer", digest_size=32).digest())
BEHIND = 16
"""Commits after which a member starts anew."""
SHORT = 6
"""Commits for which a delivered payload is kept: enough for the kept states of these tests."""


class Watcher:
    """An observer of a total order, and all that a shell does for it: it fetches at once what `network` holds."""

    def __init__(self, rows: dict[tuple[str, bytes], bytes] | None = None) -> None:
        """`rows`: those of an earlier life, without a kept state: all commits are replayed."""
        self.rows: dict[tuple[str, bytes], bytes] = rows or {}
        self.network: dict[bytes, bytes] = {}
        self.fetched: list[bytes] = []
        self.states: list[FetchState] = []
        self.answers: list[LearnerAnswer] = []
        task = QuadraticTask()
        machine = TotalOrder(
            rules=TotalOrderRules(gc_depth=3),
            network_id=NETWORK,
            members=tuple(member.id for member in MEMBERS),
            identity=OBSERVER,
            sign=MEMBERS[0].sign,
            seed=bytes(32),
            archive=self,
            snapshot_behind=BEHIND,
            records=[(table, key, value) for (table, key), value in sorted(self.rows.items()) if table in TOTAL_ORDER_TABLES],
        )
        held = [Digest(key) for table, key in self.rows if table == PAYLOAD_TABLE]
        self.replica = Coupling(machine, NETWORK, held, payload_commits=SHORT)
        rows = OwnSamples(task, np.arange(len(task.sample_labels)), OBSERVER)
        participant = Participant(NETWORK, OBSERVER, bytes(32), tuple(member.id for member in MEMBERS), is_searching=False)
        self.stream = GradientStream(task, rules(staleness_max=30), participant, self, rows)
        self.learner = LineLearner(self.stream, None)
        self._now = START_MS
        self._carry_out(self.replica.start(Instant(self._now)))
        for member in MEMBERS:
            self.feed(PeerJoined(member.id))

    def value(self, table: str, key: bytes) -> bytes | None:
        return self.rows.get((table, key))

    def payload(self, digest: bytes) -> bytes | None:
        return self.rows.get((PAYLOAD_TABLE, digest))

    def feed(self, event: Input) -> None:
        self._now += 20
        self._carry_out(self.replica.handle(event, Instant(self._now)))

    def arrive(self, digest: bytes, content: bytes) -> None:
        """The bytes of a payload are here."""
        self.rows[PAYLOAD_TABLE, digest] = content
        self.feed(AttachmentHeld(Digest(digest)))

    @property
    def judged(self) -> list[GradientOutcome]:
        """What has become of all gradients, in order."""
        told = [one for answer in self.answers if isinstance(answer, GradientsReport) for one in answer.judged]
        return [GradientOutcome(one.outcome) for one in told]

    def show(self, blocks: Iterable[Forged]) -> None:
        for block in blocks:
            author = MEMBERS[block.block.content.author].id
            self.feed(Received(author, encode(BlockMessage(block.block))))

    def _carry_out(self, effects: tuple[OuterEffect, ...]) -> None:
        queue = deque(effects)
        while queue:
            queued = queue.popleft()
            match queued:
                case Record(table, key, value):
                    self.rows[table, key] = value
                case Forget(table, key):
                    self.rows.pop((table, key), None)
                case AskLearner(request):
                    for answer in self.learner.handle(request):
                        self.answers.append(answer)
                        queue.extend(self.replica.handle_answer(answer, Instant(self._now)))
                case FetchState():
                    self.states.append(queued)
                case FetchAttachment(digest):
                    self.fetched.append(digest)
                    if digest in self.network:
                        self.rows[PAYLOAD_TABLE, digest] = self.network[digest]
                        queue.extend(self.replica.handle(AttachmentHeld(digest), Instant(self._now)))
                case _:
                    pass


class Story:
    """Rounds of sound blocks by all four members."""

    def __init__(self) -> None:
        self.forge = Forge(4)
        self.newest = [self.forge.first(member) for member in range(4)]

    def next_round(
        self, authors: Iterable[int] = range(4), checkpoint: Checkpoint | None = None, **of_the_liar: object
    ) -> list[Forged]:
        before = list(self.newest)
        created = [
            self.forge.on(member, before, checkpoint=checkpoint, **(of_the_liar if member == LIAR else {}))
            for member in authors
        ]
        for block in created:
            self.newest[block.block.content.author] = block
        return created


def gradient_on(stream: GradientStream, seed: int) -> tuple[bytes, BlockContribution]:
    """An encoded gradient of the newest model, and the item that names it."""
    values = np.random.Generator(np.random.Philox(key=seed)).normal(0, 0.1, 15).astype(np.float32)
    encoded = quantise(values, LAYOUT, 16).encoded
    submission = GradientSubmission(stream.ledger.version, stream.ledger.digest, payload_digest(encoded), len(encoded))
    return encoded, BlockContribution(bytes(32), encode_submission(submission))


def test_a_payload_that_was_forgotten_is_fetched_again_before_what_names_it_is_delivered() -> None:
    """The first block that names it has a parent that nobody has, so it is never ordered; a sound one names it much later."""
    watcher, story = Watcher(), Story()
    encoded, named = gradient_on(watcher.stream, seed=1)
    large = Attachment(payload_digest(encoded), len(encoded))
    watcher.network[large.digest] = encoded
    watcher.show(story.newest)
    unknown = story.forge.on(0, story.newest, time_ms=5)
    watcher.show(story.next_round())
    orphan = story.forge.on(LIAR, [unknown, *story.newest[1:]], items=(named,), attachments=(large,))
    watcher.show([*story.next_round(range(3)), orphan])
    assert watcher.fetched.count(large.digest) == 1
    while watcher.replica.ordering.status.commits < 64 + SHORT:
        watcher.show(story.next_round())
    assert watcher.payload(large.digest) is None
    watcher.show(story.next_round(items=(named,), attachments=(large,)))
    for _ in range(6):
        watcher.show(story.next_round())
    assert watcher.fetched.count(large.digest) == 2
    assert watcher.judged == [GradientOutcome.APPLIED]


def test_a_payload_that_the_disk_has_lost_is_fetched_before_its_commit_is_replayed_and_status_says_so() -> None:
    watcher, story = Watcher(), Story()
    contents: dict[bytes, bytes] = {}
    watcher.show(story.newest)
    for seed in range(3):
        encoded, named = gradient_on(watcher.stream, seed)
        contents[payload_digest(encoded)] = encoded
        watcher.network = contents
        watcher.show(story.next_round(items=(named,), attachments=(Attachment(payload_digest(encoded), len(encoded)),)))
        for _ in range(6):
            watcher.show(story.next_round())
    lost = list(contents)[1]
    again = Watcher({row: value for row, value in watcher.rows.items() if row != (PAYLOAD_TABLE, lost)})
    assert again.fetched == [lost]
    awaited = again.replica.awaited
    assert awaited is not None
    assert (awaited.payloads, awaited.peers_asked) == (1, 1)
    assert awaited.in_words("commit") == f"1 payload of commit {awaited.height}, asked 1 peer"
    again.feed(FetchFailed(Digest(lost), MEMBERS[0].id))
    assert again.fetched == [lost, lost]
    assert again.judged == [GradientOutcome.APPLIED], "what comes later waits, too"
    again.show(story.next_round())
    again.arrive(lost, contents[lost])
    assert (again.judged, again.replica.awaited) == (watcher.judged, None)
    watcher.show([story.newest[0]])
    assert again.stream.ledger.digest == watcher.stream.ledger.digest


def restarted_without_its_first_payload() -> tuple[Watcher, Watcher, Story, StateKept]:
    """One that has kept a state, its next life, whose disk has lost a payload from before that, and what the first has kept."""
    watcher, story = Watcher(), Story()
    watcher.show(story.newest)
    encoded, named = gradient_on(watcher.stream, seed=1)
    large = Attachment(payload_digest(encoded), len(encoded))
    watcher.network[large.digest] = encoded
    watcher.show(story.next_round(items=(named,), attachments=(large,)))
    kept = None
    while kept is None:
        watcher.show(story.next_round())
        kept = next((answer for answer in watcher.answers if isinstance(answer, StateKept)), None)
    again = Watcher({row: value for row, value in watcher.rows.items() if row != (PAYLOAD_TABLE, large.digest)})
    return watcher, again, story, kept


def test_a_learner_whose_payload_nobody_has_any_more_starts_from_a_checkpoint_and_what_follows_it() -> None:
    watcher, again, story, kept = restarted_without_its_first_payload()
    state = encode_kept_state(kept)
    assert (again.judged, again.states) == ([], [])
    checkpoint = Checkpoint(kept.commit, kept.commit_step, checkpoint_digest(state))
    for _ in range(3):
        created = story.next_round(checkpoint=checkpoint)
        watcher.show(created)
        again.show(created)
    again.feed(TimerFired("sync"))
    (asked,) = again.states
    assert (asked.step, asked.state_digest) == (kept.commit_step, checkpoint_digest(state))
    again.feed(StateHeld(asked.step, state))
    assert again.replica.awaited is None
    assert again.stream.ledger.digest == watcher.stream.ledger.digest
    again.feed(TimerFired("sync"))
    encoded, named = gradient_on(watcher.stream, seed=2)
    later = Attachment(payload_digest(encoded), len(encoded))
    for each in (watcher, again):
        each.network[later.digest] = encoded
    rounds = [story.next_round(items=(named,), attachments=(later,)), *(story.next_round() for _ in range(6))]
    for each in (watcher, again):
        for created in rounds:
            each.show(created)
    assert again.stream.ledger.digest == watcher.stream.ledger.digest
    assert (again.judged[-1], len(again.states)) == (GradientOutcome.APPLIED, 1)


def test_a_learner_that_has_gone_on_meanwhile_is_not_taken_back_to_a_checkpoint() -> None:
    """Its payload comes while the state is on its way."""
    watcher, again, story, kept = restarted_without_its_first_payload()
    state = encode_kept_state(kept)
    checkpoint = Checkpoint(kept.commit, kept.commit_step, checkpoint_digest(state))
    for _ in range(6):
        again.show(story.next_round(checkpoint=checkpoint))
    again.feed(TimerFired("sync"))
    (asked,) = again.states
    again.arrive(*next(iter(watcher.network.items())))
    assert again.replica.awaited is None
    again.feed(StateHeld(asked.step, state))
    again.show(story.next_round())
    assert [answer for answer in again.answers if isinstance(answer, StepAdopted)] == []


def test_a_payload_that_nothing_names_any_more_is_forgotten_as_soon_as_it_comes() -> None:
    watcher, story = Watcher(), Story()
    watcher.show(story.newest)
    unknown = story.forge.on(0, story.newest, time_ms=5)
    watcher.show(story.next_round())
    encoded, named = gradient_on(watcher.stream, seed=1)
    large = Attachment(payload_digest(encoded), len(encoded))
    orphan = story.forge.on(LIAR, [unknown, *story.newest[1:]], items=(named,), attachments=(large,))
    watcher.show([*story.next_round(range(3)), orphan])
    assert watcher.fetched == [large.digest]
    for _ in range(12):
        watcher.show(story.next_round(range(3)))
    watcher.arrive(large.digest, encoded)
    assert watcher.payload(large.digest) is None


def test_what_the_learner_s_process_has_hashed_is_not_hashed_again() -> None:
    """The digests are taken as they come: from our own process, which is no peer."""
    watcher = Watcher()
    content, digest = b"a gradient", Digest(b"d" * 32)
    found = watcher.replica.handle_answer(ContributionFound(bytes(32), b"names it", (content,), (digest,)), Instant(START_MS))
    assert found[0] == Record(PAYLOAD_TABLE, digest, content)
    state = StateKept(b"s" * 32, 1, b"parameters", commit=64, commit_step=b"c" * 32, checkpoint=1, digest=bytes(digest))
    kept = watcher.replica.handle_answer(state, Instant(START_MS))
    assert Record(CHECKPOINT_DIGEST_TABLE, checkpoint_key(1), digest) in kept
