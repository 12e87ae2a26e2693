"""Lies in ranked lists, made against the joint rule (`learning.evolution.joint_step`)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from learning.evolution.joint_learner import JointGenerations
from learning.evolution.joint_step import Children, JointRule
from learning.evolution.joint_submission import ScoresAndList
from learning.evolution.measurement import Measurement
from learning.evolution.ranked_list import RankedList
from learning.following.line import Head, LineLearner
from learning.learner import ContributionFound, LearnerRequest
from learning.task_check import check_task
from node.lab.faults.evolution.interceptor import Answers, LearnerSituation, PayloadCodec


class OtherLists:
    """Submits another list in place of each that it has found. Powers: none."""

    def __init__(self, relist: Callable[[RankedList], RankedList], payloads: PayloadCodec) -> None:
        self._relist = relist
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Other lists; scores are as measured."""
        return tuple(
            self._payloads.with_list(answer, self._relist) if isinstance(answer, ContributionFound) else answer
            for answer in answers
        )


def reversed_list(ranked: RankedList) -> RankedList:
    """The worst first: its direction leads away from where all others go."""
    return RankedList(ranked.indices[::-1])


class WrongWinner:
    """Its lists come with its scores, for the entry beside the one that its own measurements name. Powers: none."""

    def __init__(self, payloads: PayloadCodec) -> None:
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Lists on another model."""
        return tuple(self._elsewhere(answer) if isinstance(answer, ContributionFound) else answer for answer in answers)

    def _elsewhere(self, found: ContributionFound) -> ContributionFound:
        both = self._payloads.read(found.payload)
        if not isinstance(both, ScoresAndList):
            return found
        beside = (both.winner + 1) % len(both.scores.values)
        return replace(found, payload=self._payloads.write(replace(both, winner=beside)))


class PoorLists:
    """Mixes each of its lists with its reverse: as much of it as can be while the direction still gains, measured alone.

    So no other member finds a fault with the list, and it adds nothing to the joins but its length. Pairs change places from
    the middle outwards, so that the best mutation stays at its head. Powers: the time for half a dozen measurements.
    """

    def __init__(self, situation: LearnerSituation) -> None:
        assert isinstance(situation.own, LineLearner), "lists without a total order"
        self._generations: JointGenerations = situation.own.follower
        self._author = situation.author
        self._rule = JointRule(situation.network_id, situation.members, situation.rules)
        self._task = check_task(situation.task)
        self._measurement = Measurement(self._task, situation.network_id)
        self._payloads = PayloadCodec(situation)

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Poorer lists."""
        return tuple(self._poorer(answer) if isinstance(answer, ContributionFound) else answer for answer in answers)

    def _poorer(self, found: ContributionFound) -> ContributionFound:
        expected = self._generations.expected
        head = self._generations.head if expected is None else expected.head
        return self._payloads.with_list(found, lambda ranked: self._poorest(ranked, head))

    def _poorest(self, ranked: RankedList, head: Head) -> RankedList:
        """By halving: the gain falls with each pair."""
        gaining, losing = 0, len(ranked.indices) // 2
        while losing - gaining > 1:
            middle = (gaining + losing) // 2
            gaining, losing = (middle, losing) if self._gains(mixed(ranked, middle), head) else (gaining, middle)
        return mixed(ranked, gaining)

    def _gains(self, ranked: RankedList, head: Head) -> bool:
        children = Children(self._rule, head.step, head.model, {self._author: ranked}, self._generations.state)
        _, direction, *_ = self._rule.entries(head.step, {self._author: ranked}, self._generations.state)
        batch = self._measurement.batch(head.step)
        before, after = self._task.scores(np.stack([head.model.parameters, children.parameters(direction)]), batch)
        return bool(after > before)


def mixed(ranked: RankedList, pairs: int) -> RankedList:
    """So many pairs of one good and one bad index, those in the middle first, have changed places."""
    indices, length = ranked.indices, len(ranked.indices)
    first, end = length // 2 - pairs, length - length // 2 + pairs
    return RankedList((*indices[:first], *reversed(indices[first:end]), *indices[end:]))
