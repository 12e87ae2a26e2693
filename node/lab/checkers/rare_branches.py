"""Proof of work: who has moved to another branch, and who has built on what it had contested."""

from collections.abc import Iterator

from consensus.types import PeerId
from learning.learner import AdoptRequest, CheckRequest, ReplayRequest, StepChecked, Verdict
from node.lab.checkers.finding import Seen
from node.lab.checkers.rare_path import RarePath
from node.runtime.coupling import AskLearner


class HeadHistory:
    """Follows the heads of all peers over the tree of steps."""

    reads = (AdoptRequest, CheckRequest, ReplayRequest, StepChecked)

    def __init__(self) -> None:
        self._parents: dict[bytes, bytes] = {}
        self._heads: dict[PeerId, bytes] = {}
        self._contested: dict[PeerId, list[bytes]] = {}
        """Steps that a peer has contested, and not built on yet."""

    def see(self, seen: Seen) -> Iterator[RarePath]:
        """A step of the tree, a verdict on one, or a head."""
        match seen.event:
            case AskLearner(ReplayRequest(step) | CheckRequest(step)):
                self._parents[step.id] = step.parent
            case StepChecked(step_id, verdict=Verdict.CONTESTED | Verdict.REFUTED):
                self._contested.setdefault(seen.peer, []).append(step_id)
            case AskLearner(AdoptRequest(head)):
                yield from self._on_move(seen.peer, head)

    @property
    def has_many_heads(self) -> bool:
        """Whether the heads of two peers lie on different branches."""
        heads = sorted(set(self._heads.values()))
        return any(not self._are_of_one_branch(one, other) for one in heads for other in heads if one < other)

    def _on_move(self, peer: PeerId, head: bytes) -> Iterator[RarePath]:
        before = self._heads.get(peer)
        self._heads[peer] = head
        if before is not None and not self._are_of_one_branch(before, head):
            yield RarePath.REORGANISED
        for step in [step for step in self._contested.get(peer, ()) if self._is_above(head, step)]:
            self._contested[peer].remove(step)
            yield RarePath.CONTEST_LOST

    def _are_of_one_branch(self, one: bytes, other: bytes) -> bool:
        return self._is_above(one, other) or self._is_above(other, one)

    def _is_above(self, step: bytes | None, ancestor: bytes) -> bool:
        while step is not None and step != ancestor:
            step = self._parents.get(step)
        return step == ancestor
