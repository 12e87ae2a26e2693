"""What its own node would say of a store: the machine and the learner of a peer, begun from its records as after a restart."""

from functools import cached_property
from pathlib import Path
from typing import NoReturn

from consensus.encoding import MalformedBytesError
from consensus.proof_of_work.machine import ProofOfWork
from consensus.protocol import OrderingProtocol
from consensus.records import CorruptRecordsError
from consensus.steps import genesis_step
from consensus.total_order.machine import TotalOrder
from consensus.types import Digest, Instant, PeerId, StepId
from learning.checkpoint import decode_kept_state
from learning.evolution.rules import SearchSettings
from learning.learner import StateKept
from learning.task import Task, TaskError
from learning.tasks.loading import load_task
from node.common.errors import NodeError, fix_of_task
from node.lab.store_audit.panel import members_of
from node.lab.store_audit.rows import DamagedStoreError, StoredRecords, opened
from node.processes.learner import LearnerSpec, make_learner
from node.rules.network_file import Consensus, Learning, NetworkRules, network_id
from node.runtime.assembly import (
    NOBODY,
    PROOF_OF_WORK_TABLES,
    TOTAL_ORDER_TABLES,
    learning_rules,
    proof_of_work_rules,
    total_order_rules,
)
from node.runtime.replica import STATE_KEY, STATE_TABLE

ANY_SEED = bytes(32)
"""It draws between branches of equal work, and whom to ask: no fault of the records depends on it."""


class Reopening:
    """Opens stores as observers do, for reading alone. A task is loaded only where kept states are of gradients."""

    def __init__(self, rules: NetworkRules, task: Task | None = None) -> None:
        """`task`: the network's, where it is not to be found by its name."""
        self._rules = rules
        self._network_id = network_id(rules)
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
        states = {key: decode_kept_state(value) for _, key, value in records.tables((STATE_TABLE,))}
        kept = states.get(STATE_KEY)
        is_work = self._rules.consensus is Consensus.PROOF_OF_WORK
        machine = self._leader(peer, records, kept) if is_work else self._member(records, kept)
        machine.start(Instant(0))
        if self._rules.learning is Learning.GRADIENT:
            for state in states.values():
                self._learn_from(peer, records, state)

    def _leader(self, peer: PeerId, records: StoredRecords, kept: StateKept | None) -> OrderingProtocol:
        return ProofOfWork(
            rules=proof_of_work_rules(self._rules),
            network_id=self._network_id,
            identity=peer,
            sign=_sign_nothing,
            seed=ANY_SEED,
            records=records.tables(PROOF_OF_WORK_TABLES),
            archive=records,
            is_leading=False,
            replay_from=None if kept is None else StepId(kept.step),
        )

    def _member(self, records: StoredRecords, kept: StateKept | None) -> OrderingProtocol:
        return TotalOrder(
            rules=total_order_rules(self._rules),
            network_id=self._network_id,
            members=members_of(self._rules),
            identity=NOBODY,
            sign=_sign_nothing,
            seed=ANY_SEED,
            records=records.tables(TOTAL_ORDER_TABLES),
            archive=records,
            replay_from=None if kept is None else StepId(kept.commit_step),
        )

    def _learn_from(self, peer: PeerId, records: StoredRecords, state: StateKept) -> None:
        """Raises StoredStateError where the state is not the one that its digest names, or does not fit the task."""
        spec = LearnerSpec(
            task=self._rules.task.name,
            folder="",
            rules=learning_rules(self._rules),
            network_id=self._network_id,
            author=peer,
            genesis_step=genesis_step(self._network_id),
            settings=SearchSettings(is_searching=False),
            restored=state,
            members=members_of(self._rules),
        )
        make_learner(self._task, spec, records)

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
