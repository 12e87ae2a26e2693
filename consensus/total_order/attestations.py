"""Who has signed what about the order: each block names a commit, and perhaps a checkpoint, that its author has reached."""

from consensus.total_order.block import Block, Checkpoint, CommitMark
from consensus.total_order.committee import Committee

MARKS_AHEAD_MAX = 64
"""Commits above our own of which we remember who names them: as many as catching up holds in its buffer."""

MARKS_KEPT = 32
"""Commits that we remember each member to have named last, however far above ours: members that name their newest ones a little
apart have some of so many in common. 2 MB for 200 members."""

CHECKPOINTS_KEPT = 4
"""Of each member; members that make them at the same heights have the newest but one in common."""


class Attestations:
    """Marks are counted by distinct members; a member that signs two blocks for one round still counts once."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._newest = [0] * committee.size
        self._marks: dict[int, dict[bytes, int]] = {}
        self._newest_marks: list[dict[int, bytes]] = [{} for _ in range(committee.size)]
        self._checkpoints: list[dict[int, Checkpoint]] = [{} for _ in range(committee.size)]
        self._index = 0

    def note(self, block: Block) -> None:
        """Count what a valid, signed block says."""
        content = block.content
        mark = content.commit
        self._newest[content.author] = max(self._newest[content.author], mark.index)
        self._note_mark(content.author, mark)
        self._note_newest(self._newest_marks[content.author], mark)
        checkpoint = content.checkpoint
        if checkpoint is not None:  # below our last commit, too: our learner may be behind it
            kept = self._checkpoints[content.author]
            kept[checkpoint.index] = checkpoint
            while len(kept) > CHECKPOINTS_KEPT:
                del kept[min(kept)]

    def _note_mark(self, author: int, mark: CommitMark) -> None:
        """Count who names a commit that lies a little above ours; of one member the first word counts."""
        if not self._index < mark.index <= self._index + MARKS_AHEAD_MAX:
            return
        of_index = self._marks.setdefault(mark.index, {})
        if not any(members >> author & 1 for members in of_index.values()):
            of_index[mark.digest] = of_index.get(mark.digest, 0) | 1 << author

    def _note_newest(self, kept: dict[int, bytes], mark: CommitMark) -> None:
        if mark.index > self._index:
            kept.setdefault(mark.index, mark.digest)
            if len(kept) > MARKS_KEPT:
                del kept[min(kept)]

    def on_commit(self, index: int) -> None:
        """We have this commit ourselves; what is said of it and below matters no more."""
        self._index = index
        for old in [old for old in self._marks if old <= index]:
            del self._marks[old]

    def certain_index(self) -> int:
        """An honest member has reached this commit: f + 1 say so."""
        return sorted(self._newest, reverse=True)[self._committee.faulty_max]

    def certain_commit(self) -> CommitMark | None:
        """The highest commit above ours that f + 1 members have named by its digest, as far as we remember."""
        naming: dict[tuple[int, bytes], int] = {}
        for kept in self._newest_marks:
            for named in kept.items():
                naming[named] = naming.get(named, 0) + 1
        certain = [named for named, members in naming.items() if members >= self._committee.validity and named[0] > self._index]
        return CommitMark(*max(certain)) if certain else None

    def members_naming(self, index: int, digest: bytes) -> int:
        """The members that have named this very commit, as a set."""
        return self._marks.get(index, {}).get(digest, 0)

    def best_checkpoint(self) -> tuple[Checkpoint, int] | None:
        """The highest checkpoint that f + 1 members have signed, and who they are, as a set."""
        signers: dict[Checkpoint, int] = {}
        for member, kept in enumerate(self._checkpoints):
            for checkpoint in kept.values():
                signers[checkpoint] = signers.get(checkpoint, 0) | 1 << member
        agreed = [checkpoint for checkpoint, members in signers.items() if members.bit_count() >= self._committee.validity]
        if not agreed:
            return None
        best = max(agreed, key=lambda checkpoint: (checkpoint.index, checkpoint.digest, checkpoint.state_digest))
        return best, signers[best]
