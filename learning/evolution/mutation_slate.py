"""Mutations on a slate: each member's candidate is one recipe, and one entry."""

from dataclasses import dataclass

from learning.evolution.mutation import Mutation
from learning.evolution.payload import Candidate
from learning.evolution.scores import Scores, decode_submission
from learning.evolution.slate import tagged_digest
from learning.learner import SignedPayload

NO_CHANGE_TAG = b"kubrat/no-change/1"


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate on the slate; for the parent, mutation and claim are None."""

    digest: bytes
    mutation: Mutation | None
    claimed_fitness: int | None
    """Micro-units; for people alone."""

    @property
    def author(self) -> bytes | None:
        """None for the parent."""
        return None if self.mutation is None else self.mutation.author


class MutationCandidacy:
    """Implements `learning.evolution.slate.Candidacy`. No change has no privilege: its digest is drawn by the generation."""

    counts_leads = False

    def __init__(self, members: int, recipe_length_max: int) -> None:
        self._members = members
        self._recipe_length_max = recipe_length_max

    def parent(self, generation: bytes) -> Entry:
        """Neither a mutation nor a claim."""
        return Entry(no_change_digest(generation), None, None)

    def read(self, payload: bytes) -> Candidate | Scores:
        """Raises MalformedPayloadError."""
        return decode_submission(payload, self._recipe_length_max, self._members)

    def entries(self, item: SignedPayload, candidate: Candidate) -> tuple[Entry, ...]:
        """Named by the submission, so that equal mutations of two authors are two."""
        return (Entry(item.digest, Mutation(item.author, candidate.recipe), candidate.claimed_fitness),)

    def joint(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:  # noqa: ARG002  Candidacy
        """None."""
        return ()


def no_change_digest(generation: bytes) -> bytes:
    """The parent's digest on the slate: BLAKE2b-256 over (length-prefixed tag, generation)."""
    return tagged_digest(NO_CHANGE_TAG, generation)
