"""Between the ordering machine's words and the learner's: neither room knows the other's."""

from collections.abc import Iterable
from typing import assert_never

from consensus import steps
from consensus.protocol import Assessed, Checked, Input, Offered
from consensus.steps import Attachment, Contribution, Step, Verdict, contribution_digest
from consensus.types import Digest, NetworkId, StepId
from learning import learner
from learning.learner import (
    AuthoredPayload,
    ContributionAssessed,
    DeliveredStep,
    ProposedStep,
    StepChecked,
    StepOffered,
)

_VERDICTS = {
    learner.Verdict.GOOD: Verdict.GOOD,
    learner.Verdict.CONTESTED: Verdict.CONTESTED,
    learner.Verdict.REFUTED: Verdict.REFUTED,
    learner.Verdict.INVALID: Verdict.INVALID,
}


def step_for_learner(network_id: NetworkId, step: Step) -> ProposedStep:
    """A step of proof of work as the learner sees it."""
    contributions = tuple(authored_payload(contribution_digest(network_id, item), item) for item in step.contributions)
    return ProposedStep(step.id, step.parent, step.height, step.leader, contributions, step.claim, step.state_digest)


def delivery_for_learner(step: steps.DeliveredStep) -> DeliveredStep:
    """A step of a total order as the learner sees it."""
    items = tuple(
        AuthoredPayload(item.digest, item.author, item.base, item.payload, _names_of(item.attachments)) for item in step.items
    )
    return DeliveredStep(step.id, step.parent, step.height, items)


def authored_payload(digest: Digest, contribution: Contribution) -> AuthoredPayload:
    attached = _names_of(contribution.attachments)
    return AuthoredPayload(digest, contribution.author, contribution.base, contribution.payload, attached)


def _names_of(attachments: Iterable[Attachment]) -> tuple[tuple[bytes, int], ...]:
    return tuple((attachment.digest, attachment.length) for attachment in attachments)


def input_of(answer: ContributionAssessed | StepChecked | StepOffered) -> Input:
    match answer:
        case ContributionAssessed(digest, verdict, is_useful, detail, is_proven_lie):
            return Assessed(Digest(digest), _VERDICTS[verdict], is_useful, detail, is_proven_lie)
        case StepChecked(step, verdict, is_proven_lie, detail):
            return Checked(StepId(step), _VERDICTS[verdict], is_proven_lie, detail)
        case StepOffered(base, contributions, claim, state_digest):
            return Offered(StepId(base), tuple(Digest(item) for item in contributions), claim, Digest(state_digest))
        case _:
            assert_never(answer)
