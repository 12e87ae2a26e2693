"""All folders of a testnet laid side by side, again and again: the checkers see what each honest peer has recorded.

Folders are read one after the other while their peers go on. So what one peer must have done before another could record
something is asked for one reading later, when its own folder was read again: deliveries, and blocks that it must have sent.
"""

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from consensus.effects import Broadcast, FetchState, Record
from consensus.encoding import CorruptRecordsError, MalformedBytesError, encode
from consensus.proof_of_work import messages as work_messages
from consensus.proof_of_work.header import BLOCK_CODEC
from consensus.proof_of_work.records import BLOCK_TABLE
from consensus.total_order import messages as order_messages
from consensus.total_order.block import BLOCK_CODEC as DAG_BLOCK_CODEC
from consensus.total_order.records import VERTEX_TABLE
from consensus.types import Digest, Instant, PeerId
from learning.learner import DeliverRequest
from learning.state import decode_kept_state
from learning.task import Task, TaskError
from node.common.errors import NodeError, fix_of_task
from node.lab.checkers.finding import Event, Finding
from node.lab.store_audit.checks import checker_suite
from node.lab.store_audit.folder import PeerFolder
from node.lab.store_audit.rows import DamagedStoreError, StoredRecords, opened
from node.processes.learner import loaded, make_learner
from node.rules.network_rules import Learning, NetworkRules, members_of
from node.runtime.composition import Role, RowArchive, learner_spec, ordering_machine
from node.runtime.coupling import AskLearner
from node.storage.tables import STATE_TABLE

ANY_SEED = bytes(32)
"""It draws between branches of equal work, and whom to ask: no fault of the records depends on it."""


class Reopening:
    """Opens stores as observers do, for reading alone. A task is loaded only where kept states are of gradients."""

    def __init__(self, rules: NetworkRules, task: Task | None = None) -> None:
        """`task`: the network's, where it is not to be found by its name."""
        self._rules = rules
        self._given_task = task

    def fault(self, peer: PeerId, path: Path) -> str | None:
        """Why its node would refuse this database; None where it goes on from it, or there is none. Raises NodeError."""
        try:
            with opened(path) as connection:
                if connection is not None:
                    self._open(peer, StoredRecords(connection))
        except (CorruptRecordsError, DamagedStoreError, MalformedBytesError, TaskError) as error:
            return str(error)
        except AssertionError as error:  # to a node its own records are beyond doubt; here they are not
            return f"an assertion does not hold: {error}"
        return None

    def _open(self, peer: PeerId, records: StoredRecords) -> None:
        """Raises StoredStateError where a state is not the one that its digest names, or does not fit the task."""
        states = [decode_kept_state(value) for _, value in records.records(STATE_TABLE)]
        ordering_machine(self._rules, Role(peer, _sign_nothing, ANY_SEED, is_observer=True), records).start(Instant(0))
        if self._rules.learning is Learning.GRADIENT:
            for state in states:
                spec = learner_spec(self._rules, peer, state, is_searching=False)
                make_learner(self._task, spec, RowArchive(records))

    @cached_property
    def _task(self) -> Task:
        """Raises NodeError: no store is to blame for it."""
        if self._given_task is not None:
            return self._given_task
        try:
            return loaded(self._rules.task.name, self._rules.model, Path())
        except TaskError as error:
            fix = fix_of_task(self._rules.task.name, error.fix)
            raise NodeError(f"kept states cannot be read without their task: {error}", fix) from error


def _sign_nothing(digest: Digest) -> NoReturn:
    raise AssertionError(f"an observer was to sign {digest.hex()}")


AS_WRITTEN = "a store holds what was written"

GOES_ON = "a node goes on from its own store"


class Autopsy:
    """`is_followed`: whether the folders are read from the network's start on, and every new incarnation is told.

    Otherwise nothing is asked that only a follower can know: what one run has signed, and whether a large payload was there
    that is forgotten in time. Nothing here runs on an event loop: a reading may take a second.
    """

    def __init__(
        self,
        rules: NetworkRules,
        folders: Iterable[tuple[PeerId, Path]],
        faulty: Container[PeerId],
        start: Instant,
        *,
        is_followed: bool,
        task: Task | None = None,
    ) -> None:
        """`task`: the network's, where it is not to be found by its name."""
        placed = tuple(folders)
        everybody = tuple(peer for peer, _ in placed)
        self._members = members_of(rules)
        self._is_followed = is_followed
        self._folders = {peer: PeerFolder(peer, path, rules, everybody) for peer, path in placed}
        self._reopening = Reopening(rules, task)
        honest = frozenset(peer for peer in everybody if peer not in faulty)
        self.checkers = checker_suite(rules, honest, len(everybody), start)
        self.events_seen = 0
        """Rows, lines and what follows from them: how much the checkers was shown."""
        self._due: list[tuple[PeerId, Event]] = []
        self._sent: dict[bytes, None] = {}
        """Records of blocks whose authors are known to have sent them."""
        if not is_followed:
            for folder in self._folders.values():
                folder.starts_again(was_read=False)

    def read(self, now: Instant) -> None:
        """What is new in all folders of honest peers. Raises NodeError when a database cannot be read."""
        due, self._due = self._due, []
        for peer in self._folders:
            self.read_one(peer, now)
        for peer, event in due:
            self.checkers.watch(self._folders[peer], event, now)

    def read_one(self, peer: PeerId, now: Instant) -> None:
        """What is new in one: before something is lost, or before a new incarnation begins. Raises NodeError."""
        if peer not in self.checkers.honest:
            return
        folder = self._folders[peer]
        try:
            findings = folder.read()
            for event in findings.events:
                self._take(folder, event, now)
        except (DamagedStoreError, CorruptRecordsError, MalformedBytesError) as error:
            self.checkers.finding = self.checkers.finding or Finding(AS_WRITTEN, f"{peer.hex()[:8]}: {error}", ())
        else:
            self.checkers.inspect_disk(peer, findings.places, now)

    def read_to_the_end(self, now: Instant) -> None:
        """Once all peers have stopped: nothing is left to be asked later, and each could be started again. Raises NodeError."""
        self.read(now)
        self.read(now)
        for peer, folder in self._folders.items():
            if self.checkers.finding is None and peer in self.checkers.honest:
                fault = self._reopening.fault(peer, folder.store_path)
                self.checkers.finding = None if fault is None else Finding(GOES_ON, f"{peer.hex()[:8]}: {fault}", ())

    @property
    def missing(self) -> tuple[PeerId, ...]:
        """Honest peers in whose folders there was no database at the last reading."""
        return tuple(peer for peer, folder in self._folders.items() if peer in self.checkers.honest and not folder.has_store)

    def starts_again(self, peer: PeerId, *, was_read: bool) -> None:
        """A new incarnation of it begins. `was_read`: `read_one` came after the end of the last one."""
        self._folders[peer].starts_again(was_read=was_read)

    def watch(self, peer: PeerId, event: Event, now: Instant) -> None:
        """What was seen of a peer in another way than in its folder."""
        self.checkers.watch(self._folders[peer], event, now)

    def _take(self, folder: PeerFolder, event: Event, now: Instant) -> None:
        self.events_seen += 1
        if isinstance(event, FetchState) or (isinstance(event, AskLearner) and isinstance(event.request, DeliverRequest)):
            self._due.append((folder.id, event))
            return
        self.checkers.watch(folder, event, now)
        self._due += self._sent_by_another(folder.id, event)

    def _sent_by_another(self, holder: PeerId, event: Event) -> Iterator[tuple[PeerId, Event]]:
        """Whoever holds a block of somebody else's has it from its author, directly or not."""
        match event:
            case Record(table, key, value) if table in {VERTEX_TABLE, BLOCK_TABLE} and key not in self._sent:
                author, message = self._work_message(value) if table == BLOCK_TABLE else self._order_message(value)
                if author in self._folders and author != holder and message is not None:
                    self._sent[key] = None
                    yield author, Broadcast(message)

    def _order_message(self, value: bytes) -> tuple[PeerId | None, bytes | None]:
        block = DAG_BLOCK_CODEC.decode(value)
        author = block.content.author
        if author >= len(self._members) or (block.content.attachments and not self._is_followed):
            return None, None
        return self._members[author], encode(order_messages.BlockMessage(block))

    @staticmethod
    def _work_message(value: bytes) -> tuple[PeerId, bytes]:
        block = BLOCK_CODEC.decode(value)
        return PeerId(block.header.leader), encode(work_messages.BlockMessage(block))
