"""Every step above the final one, with what it takes to apply it again; states are rebuilt when they are not at hand.

A state that is not at hand is rebuilt from its nearest ancestor that is. So those that stay lie at about even distances: at
depth 256 with room for 16 a fork from anywhere is rebuilt in some 16 steps, and with room for none in up to 256.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from learning.learner import AuthoredPayload, ContributionAssessed, ProposedStep, StepChecked, Verdict
from learning.state import StoredStateError

S = TypeVar("S")
"""The agreed state after a step."""

Array = npt.NDArray[np.generic]

STATES_MIN = 2
"""However large a model is, the states of a step and of its parent are both at hand, beside the final one."""


class Transition(Protocol[S]):
    """What a step does to the agreed state: the same at every peer, bit for bit."""

    def apply(self, state: S, step: ProposedStep) -> S:
        """The state after a step of sound form, from the one after its parent."""
        ...

    def digest(self, state: S) -> bytes:
        """What the step commits to."""
        ...

    def arrays(self, state: S) -> Iterable[Array]:
        """What of the state takes memory; several states may share an array."""
        ...

    def own_bytes(self, state: S) -> int:
        """What it takes besides, and shares with no other."""
        ...


def final_step(step: bytes, height: int, state_digest: bytes) -> ProposedStep:
    """A root: what it took to come to it is of no concern any more."""
    return ProposedStep(step, b"", height, b"", (), b"", state_digest)


def invalid(step: ProposedStep, detail: str) -> StepChecked:
    """It can never be accepted, whatever is measured."""
    return StepChecked(step.id, Verdict.INVALID, False, detail)


def useless(contribution: AuthoredPayload, judgement: Verdict = Verdict.CONTESTED, detail: str = "") -> ContributionAssessed:
    """It cannot be listed now; without a `detail` it is nobody's fault."""
    return ContributionAssessed(contribution.digest, judgement, False, detail)


class StateTree(Generic[S]):
    """A tree of steps; its root is the newest final one, whose state is always kept.

    The states at hand take at most `bytes_max`, or are the root's and STATES_MIN more: whatever the finality depth and the size
    of the model. What it takes to rebuild the others is the contributions of the steps, which are held here, and their large
    payloads, which the shell holds: under proof of work it forgets none.
    """

    def __init__(self, transition: Transition[S], root: ProposedStep, state: S, *, steps_max: int, bytes_max: int) -> None:
        self._transition = transition
        self._steps = {root.id: root}
        self._root = root
        self._root_state = state
        self._states: OrderedDict[bytes, S] = OrderedDict()
        """By step, the least recently used first."""
        self._held = HeldBytes()
        self._hold(state)
        self._steps_max = steps_max
        self._bytes_max = bytes_max

    @property
    def root(self) -> ProposedStep:
        """The newest final step."""
        return self._root

    @property
    def is_full(self) -> bool:
        """Whether no further step can be added until one is final."""
        return len(self._steps) >= self._steps_max

    def find(self, step: bytes) -> ProposedStep | None:
        """The step of this id, if it is the root or above it."""
        return self._steps.get(step)

    def require(self, step: bytes) -> ProposedStep:
        """The step of this id, which whoever asks has had checked or replayed."""
        known = self._steps.get(step)
        assert known is not None, f"step {step.hex()} was neither checked nor replayed"
        return known

    def parent_of(self, step: ProposedStep) -> ProposedStep | str:
        """What a new step builds on, or why there is no place for it, for people."""
        if step.parent not in self._steps:
            return f"unknown parent {step.parent.hex()}"
        return "too many steps wait for finality" if self.is_full else self._steps[step.parent]

    def add(self, step: ProposedStep, state: S) -> None:
        """Remember a step on a known parent, and its state."""
        self._add(step)
        self._keep(step.id, state)

    def add_stored(self, step: ProposedStep) -> None:
        """Remember a step on a known parent, from our own records; its state is left to be rebuilt. Raises StoredStateError."""
        if self.is_full:
            raise StoredStateError(f"more stored steps wait for finality than the {self._steps_max} allowed")
        self._add(step)

    def _add(self, step: ProposedStep) -> None:
        assert step.parent in self._steps, "a step on an unknown parent"
        assert not self.is_full, f"more than {self._steps_max} steps wait for finality"
        self._steps[step.id] = step

    def path(self, step: ProposedStep) -> Iterator[ProposedStep]:
        """From the step down to the first one above the root."""
        while step.id != self._root.id:
            yield step
            step = self._steps[step.parent]

    def at_hand(self, step: ProposedStep) -> S | None:
        """The state after the step, if it need not be rebuilt."""
        if step.id == self._root.id:
            return self._root_state
        if step.id in self._states:
            self._states.move_to_end(step.id)
        return self._states.get(step.id)

    def state(self, step: ProposedStep) -> S:
        """The state after the step, rebuilt from the nearest ancestor at hand.

        Raises StoredStateError when it is not the one that the step commits to: our records are damaged.
        """
        missing: list[ProposedStep] = []
        ancestor = step
        while (state := self.at_hand(ancestor)) is None:
            missing.append(ancestor)
            ancestor = self._steps[ancestor.parent]
        for descendant in reversed(missing):
            state = self._transition.apply(state, descendant)
            if self._transition.digest(state) != descendant.state_digest:
                where = f"step {descendant.id.hex()} at height {descendant.height}"
                raise StoredStateError(f"{where} leads to another state than stored")
            self._keep(descendant.id, state)
        return state

    def finalise(self, final: bytes) -> frozenset[bytes] | None:
        """Make the step of this id the root; the ids that remain: it and its descendants.

        None where it is not above the root, as after a restart: then nothing changes.
        """
        step = self._steps.get(final)
        if step is None or step.id == self._root.id:
            return None
        state = self.state(step)
        kept = {step.id: step}
        for other in sorted(self._steps.values(), key=lambda known: known.height):
            if other.parent in kept:
                kept[other.id] = other
        self._forget(self._root_state)
        self._hold(state)
        self._steps, self._root, self._root_state = kept, step, state
        for gone in [known for known in self._states if known not in kept or known == step.id]:
            self._forget(self._states.pop(gone))
        return frozenset(kept)

    @property
    def bytes_at_hand(self) -> int:
        """What the states take that are at hand."""
        return self._held.total

    def _keep(self, step: bytes, state: S) -> None:
        if step in self._states:
            return
        self._states[step] = state
        self._hold(state)
        while len(self._states) > STATES_MIN and self.bytes_at_hand > self._bytes_max:
            self._forget(self._states.pop(self._least_missed()))

    def _least_missed(self) -> bytes:
        """Of the states at hand, but for the newest, the one that is rebuilt in the fewest steps; of equals, the oldest."""
        at_hand = self._states.keys() | {self._root.id}
        fewest: tuple[int, bytes] | None = None
        for step in tuple(self._states)[:-STATES_MIN]:
            distance, ancestor = 1, self._steps[step].parent
            while ancestor not in at_hand:
                distance, ancestor = distance + 1, self._steps[ancestor].parent
            if fewest is None or distance < fewest[0]:
                fewest = distance, step
            if distance == 1:
                break
        assert fewest is not None, "there is nothing to choose from"
        return fewest[1]

    def _hold(self, state: S) -> None:
        self._held.add(self._transition.arrays(state), self._transition.own_bytes(state))

    def _forget(self, state: S) -> None:
        self._held.remove(self._transition.arrays(state), self._transition.own_bytes(state))


class HeldBytes:
    """How much memory states take that share arrays: each array is counted once, for as long as one of them holds it.

    A tally by identity: who adds a state's arrays holds the state until it removes them.
    """

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self.total = 0

    def add(self, arrays: Iterable[Array], own_bytes: int) -> None:
        """One holder more of each array."""
        self.total += own_bytes
        for array in arrays:
            holders = self._holders.get(id(array), 0)
            self._holders[id(array)] = holders + 1
            self.total += 0 if holders else array.nbytes

    def remove(self, arrays: Iterable[Array], own_bytes: int) -> None:
        """One holder less of each; a state names the same arrays as when it was added."""
        self.total -= own_bytes
        for array in arrays:
            holders = self._holders.pop(id(array)) - 1
            if holders:
                self._holders[id(array)] = holders
            else:
                self.total -= array.nbytes
