"""What an order and a learner speak of: steps, the payloads in them, and what the learner says of a step."""

from dataclasses import dataclass
from enum import StrEnum

from consensus.attachment import Attachment
from consensus.contribution import Contribution
from consensus.signing import Domain, digest_of
from consensus.types import Digest, Height, NetworkId, PeerId, StepId


class Verdict(StrEnum):
    """What the learner says of a step."""

    GOOD = "good"
    CONTESTED = "contested"
    """Valid by form and work, but the measured fitness does not bear out its claims: honest peers do not build on it."""
    REFUTED = "refuted"
    """As contested, by more than honest measurements can differ: no honest peer has found it good."""
    INVALID = "invalid"
    """Cannot be applied, or leads to another state than it commits to: provably wrong for everybody, for ever."""


@dataclass(frozen=True, slots=True)
class Step:
    """A link of the order: `contributions` turn the state of `parent` into the state of `id`.

    The large payloads that they name are held. That a payload has the length that is named with it is for the learner to judge.
    """

    id: StepId
    parent: StepId
    height: Height
    leader: PeerId
    contributions: tuple[Contribution, ...]
    claim: bytes
    """What the leader's learner claims of the step; opaque here."""
    state_digest: Digest
    """The digest of the state after the step, as committed to by the leader."""


@dataclass(frozen=True, slots=True)
class DeliveredContribution:
    """One payload in the order, by an author that is certain. `base`: what its author built on; opaque here."""

    author: PeerId
    base: bytes
    payload: bytes
    digest: Digest
    attachments: tuple[Attachment, ...]
    """The large payloads that the delivered block names: whoever accepted the block held all of them."""


@dataclass(frozen=True, slots=True)
class DeliveredStep:
    """A step that is final at once (total order): `items` in the order that all peers share.

    `id` chains: it is the digest of the commit record, which holds the parent's; `height` is the commit's index.
    """

    id: StepId
    parent: StepId
    height: Height
    time_ms: int
    """Agreed time: never goes back, and no minority can move it."""
    items: tuple[DeliveredContribution, ...]


def genesis_step(network_id: NetworkId) -> StepId:
    """The step that everybody starts from: derived from the network, never sent. Its height is 0."""
    return StepId(digest_of(Domain.GENESIS, network_id, b""))
