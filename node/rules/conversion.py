"""The rules of the network file as the ordering machine and the learner want them."""

from msgspec.structs import asdict

from consensus.proof_of_work.mempool import Rank, equal_claims
from consensus.proof_of_work.rules import ProofOfWorkRules
from learning.evolution.joint_blocks import lists_max
from learning.evolution.payload import claimed_fitness
from learning.evolution.rules import EvolutionRules, Strategy
from learning.gradient.block_learner import BASE_AGE_MAX
from learning.gradient.rules import GradientRules, check_ms_max
from node.rules.network_rules import Learning, NetworkRules


def proof_of_work_rules(rules: NetworkRules) -> ProofOfWorkRules:
    """Of proof of work: a gradient may be some blocks old, a candidate may not.

    A gradient is one large payload; a candidate has none, and a block lists one candidate, or the lists that it joins.
    """
    chain = rules.proof_of_work
    if rules.learning is Learning.EVOLUTION:
        check_ms = check_ms_max(chain.block_interval_ms)
        lists = lists_max(rules.task.parameters, check_ms) if rules.evolution.strategy is Strategy.JOINT else 1
        return ProofOfWorkRules(**asdict(chain), attachments_max=0, contributions_max=lists)
    return ProofOfWorkRules(
        **asdict(chain),
        base_age_max=min(BASE_AGE_MAX, chain.finality_depth),
        author_window=rules.gradient.workers_window,
        attachments_max=1,
    )


def contribution_rank(rules: NetworkRules) -> Rank:
    """How much a contribution claims to be worth: a candidate its fitness, a gradient nothing."""
    return claimed_fitness if rules.learning is Learning.EVOLUTION else equal_claims


def learning_rules(rules: NetworkRules) -> EvolutionRules | GradientRules:
    """What the learner holds to."""
    return rules.evolution if rules.learning is Learning.EVOLUTION else rules.gradient
