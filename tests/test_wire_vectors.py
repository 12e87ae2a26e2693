"""Frames and rows that an earlier tree wrote are read, byte for byte, by this one."""

import pytest

from consensus.encoding import encode
from consensus.types import Instant
from learning.learner import StepAdopted
from node.lab.simulation.population import START, Population
from node.rules.network_rules import Consensus, Learning
from node.runtime.coupling import AskLearner
from tests.wire_vectors import MODES, codec_of, name_of, read_vectors, scenario_of

VECTORS = read_vectors()


@pytest.mark.parametrize(("consensus", "learning"), MODES)
def test_every_frame_is_decoded_and_encoded_to_the_same_bytes(consensus: Consensus, learning: Learning) -> None:
    codec = codec_of(consensus)
    frames = VECTORS[name_of(consensus, learning)].frames
    assert len({type(codec.decode(frame)) for frame in frames}) > 2
    for frame in frames:
        assert encode(codec.decode(frame)) == frame


@pytest.mark.parametrize(("consensus", "learning"), MODES)
def test_a_peer_goes_on_from_the_stored_rows(consensus: Consensus, learning: Learning) -> None:
    """Its machine replays them to its learner, which comes to the head that it had adopted."""
    vectors = VECTORS[name_of(consensus, learning)]
    records = {(table, key): value for table, key, value in vectors.rows}
    population = Population(scenario_of(consensus, learning), seed=1)
    replica, learner, *_ = population.build(population.ids[0], "")(records, vectors.guard_round)
    heads = []
    requests = list(population.first_requests(records))
    requests += [effect.request for effect in replica.start(Instant(START + 100_000)) if isinstance(effect, AskLearner)]
    for request in requests:
        heads += [answer.step for answer in learner.handle(request) if isinstance(answer, StepAdopted)]
    assert vectors.head in heads
