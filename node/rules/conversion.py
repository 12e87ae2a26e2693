"""The sections of the network file as the ordering machine and the learner want them."""

from typing import assert_never

import msgspec

from consensus.proof_of_work.assessment_queue import Rank, equal_claims
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.total_order.machine import TotalOrderRules
from learning.evolution.payload import claimed_fitness
from learning.evolution.rules import EvolutionRules
from learning.gradient.block_learner import BASE_AGE_MAX
from learning.gradient.rules import GradientRules, check_ms_max
from node.rules.network_rules import Learning, NetworkRules


def proof_of_work_rules(rules: NetworkRules) -> ProofOfWorkRules:
    """Of proof of work: a gradient may be some blocks old, a candidate may not.

    A gradient is one large payload; a candidate has none, and a block lists one candidate.
    """
    work = rules.proof_of_work
    section = msgspec.structs.asdict(work)
    if rules.learning is Learning.EVOLUTION:
        return ProofOfWorkRules(**section, attachments_max=0, contributions_max=1)
    return ProofOfWorkRules(
        **section,
        base_age_max=min(BASE_AGE_MAX, work.finality_depth),
        author_window=rules.gradient.workers_window,
        attachments_max=1,
    )


def contribution_rank(rules: NetworkRules) -> Rank:
    """How much a contribution claims to be worth: a candidate its fitness, a gradient nothing."""
    return claimed_fitness if rules.learning is Learning.EVOLUTION else equal_claims


def total_order_rules(rules: NetworkRules) -> TotalOrderRules:
    """Of a total order, without the members."""
    section = msgspec.structs.asdict(rules.total_order)
    del section["members"]
    return TotalOrderRules(**section)


def learning_rules(rules: NetworkRules) -> EvolutionRules | GradientRules:
    """What the learner holds to."""
    match rules.learning:
        case Learning.EVOLUTION:
            return EvolutionRules(**msgspec.structs.asdict(rules.evolution))
        case Learning.GRADIENT:
            interval_ms = rules.proof_of_work.block_interval_ms
            return GradientRules(**msgspec.structs.asdict(rules.gradient), check_ms_max=check_ms_max(interval_ms))
        case _:
            assert_never(rules.learning)
