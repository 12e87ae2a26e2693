"""BASGD against a twin that keeps lists of everything since the last step."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.basgd import Aggregate, Buffered
from learning.aggregation.rule import GradientOutcome
from tests.learning.gradient.tiny import PARAMETERS, Network, group_of

LEARNING_RATE = 0.5

vectors = st.tuples(*[st.integers(-4, 4)] * PARAMETERS)
streams = st.lists(st.tuples(st.integers(0, 6), vectors, st.sampled_from([0, 0, 1, 2])), min_size=10, max_size=40)


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


class SlowBuffered:
    """One column of numbers at a time, in plain floats rounded to float32 after each operation."""

    def __init__(self, rule: Buffered, size: int, faulty_max: int, first: list[float]) -> None:
        self.rule, self.size, self.faulty_max, self.model = rule, size, faulty_max, first
        self.buffers = min(rule.buffers or 2 * faulty_max + 1, size)
        self.momentum = [0.0] * len(first)
        self.version = 0
        self.heard: list[tuple[int, tuple[int, ...], int]] = []
        self.newest_base = [-1] * size

    def deliver(self, author: int, vector: tuple[int, ...], base: int) -> GradientOutcome:
        if base <= self.newest_base[author]:
            return GradientOutcome.REPEATED
        self.newest_base[author] = base
        self.heard.append((author, vector, base))
        shares = [[vector for who, vector, _ in self.heard if who % self.buffers == place] for place in range(self.buffers)]
        if not all(shares):
            if len({who for who, _, at in self.heard if at == self.version}) < self.size - self.faulty_max:
                return GradientOutcome.COLLECTED
            newest = {who: vector for who, vector, _ in self.heard}
            dealt = [newest[who] for who in sorted(newest)]
            count = min(self.buffers, self.size - self.faulty_max)
            shares = [dealt[place::count] for place in range(count)]
        self._step(shares)
        return GradientOutcome.APPLIED

    def _step(self, shares: list[list[tuple[int, ...]]]) -> None:
        for place in range(len(self.model)):
            means = sorted(float32(sum(vector[place] for vector in share) / len(share)) for share in shares)
            step = self._aggregate(means)
            if float(self.rule.momentum):
                self.momentum[place] = float32(float32(float(self.rule.momentum) * self.momentum[place]) + step)
                step = self.momentum[place]
            self.model[place] = float32(self.model[place] - float32(LEARNING_RATE * step))
        self.version += 1
        self.heard = []

    def _aggregate(self, means: list[float]) -> float:
        trimmed = (len(means) - 1) // 2
        if self.rule.aggregate is Aggregate.TRIMMED:
            trimmed = min(trimmed, self.faulty_max)
        middle = means[trimmed : len(means) - trimmed]
        total = middle[0]
        for mean in middle[1:]:
            total = float32(total + mean)
        return float32(total / len(middle))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    size=st.sampled_from([1, 4, 5, 7]),
    buffers=st.sampled_from([0, 1, 2, 3, 4, 5, 9]),
    aggregate=st.sampled_from(Aggregate),
    momentum=st.sampled_from(["0", "0.5"]),
    stream=streams,
)
def test_it_does_what_a_twin_with_lists_does(
    size: int, buffers: int, aggregate: Aggregate, momentum: str, stream: list[tuple[int, tuple[int, ...], int]]
) -> None:
    rule, group = Buffered(buffers, aggregate, momentum), group_of(size)
    net = Network(rule, group, learning_rate=LEARNING_RATE)
    twin = SlowBuffered(rule, size, group.faulty_max, net.ledger.parameters.tolist())
    for place, vector, age in stream:
        author, base = place % size, max(net.ledger.version - age, 0)
        assert net.deliver(author, vector, base).outcome == twin.deliver(author, vector, base)
        assert net.ledger.parameters.tolist() == twin.model
        assert net.ledger.version == twin.version


def test_f_liars_move_no_coordinate_beyond_what_the_honest_sent() -> None:
    net = Network(Buffered(), group_of(4), learning_rate=1.0)
    start = net.ledger.parameters.copy()
    outcomes = [net.deliver(place, [value] * 3).outcome for place, value in enumerate([1.0, 1e20, 2.0])]
    assert outcomes == [GradientOutcome.COLLECTED, GradientOutcome.COLLECTED, GradientOutcome.APPLIED]
    assert (start - net.ledger.parameters).tolist() == [2.0, 2.0, 2.0]


def test_a_buffer_that_only_a_silent_worker_could_fill_is_dealt_to_the_others() -> None:
    net = Network(Buffered(), group_of(4), learning_rate=1.0)
    start = net.ledger.parameters.copy()
    outcomes = [net.deliver(place, [value] * 3).outcome for place, value in ((0, 1.0), (2, 2.0), (3, 4.0))]
    assert outcomes == [GradientOutcome.COLLECTED, GradientOutcome.COLLECTED, GradientOutcome.APPLIED]
    assert (start - net.ledger.parameters).tolist() == [2.0, 2.0, 2.0]


def test_another_number_of_buffers_keeps_what_was_heard_and_the_momentum() -> None:
    net = Network(Buffered(momentum="0.5"), group_of(4), learning_rate=1.0)
    for place in range(3):
        net.deliver(place, [2.0] * 3)
    net.deliver(0, [4.0] * 3)
    net.group = group_of(7)
    outcomes = [net.deliver(place, [4.0] * 3).outcome for place in range(1, 5)]
    assert outcomes == [GradientOutcome.COLLECTED] * 3 + [GradientOutcome.APPLIED]
    assert net.ledger.memory.vectors[-1].tolist() == [0.5 * 2 + 4] * 3
