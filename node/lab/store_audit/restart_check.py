"""What its own node would say of a store: the machine and the learner of a peer, begun from its records as after a restart."""

from functools import cached_property
from pathlib import Path
from typing import NoReturn

from consensus.encoding import CorruptRecordsError, MalformedBytesError
from consensus.types import Digest, Instant, PeerId
from learning.state import decode_kept_state
from learning.task import Task, TaskError
from learning.tasks.loading import load_task
from node.common.errors import NodeError, fix_of_task
from node.lab.store_audit.rows import DamagedStoreError, StoredRecords, opened
from node.processes.learner import make_learner
from node.rules.network_rules import Learning, NetworkRules
from node.runtime.composition import Role, RowArchive, learner_spec, ordering_machine
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
            return load_task(self._rules.task.name)
        except TaskError as error:
            fix = fix_of_task(self._rules.task.name, error.fix)
            raise NodeError(f"kept states cannot be read without their task: {error}", fix) from error


def _sign_nothing(digest: Digest) -> NoReturn:
    raise AssertionError(f"an observer was to sign {digest.hex()}")
