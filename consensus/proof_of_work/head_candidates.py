"""What may still become the head: proven blocks whose bodies and payloads are held, or are really arriving.

A block whose body nobody gives in time is stalled, and so is all that follows it: none of it counts until the body comes.
"""

from consensus.payload_requests import PayloadRequests
from consensus.proof_of_work.block_tree import BlockIndex, BlockStatus, next_target
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.puzzle import work_of
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.types import StepId

CONTENDERS_BACK = 2
"""Blocks of work behind the head: what is further behind is neither verified when it is pushed, nor passed on, nor checked.

A branch that forks off far below may date its blocks so that after a few of them a puzzle costs a two-hundredth of one above
the head; and to check a block on an old parent costs a learner all states in between.
"""


class HeadCandidates:
    """Looks at the tree once after each change of it: a few hundred blocks at most, and most of the time none."""

    def __init__(self, chain: Chain, wanted: PayloadRequests, rules: ProofOfWorkRules) -> None:
        self._chain = chain
        self._wanted = wanted
        self._rules = rules
        self._stalled: dict[StepId, None] = {}
        """Blocks whose body nobody has given in time."""
        self._sorted_at: int | None = None
        """The version of the tree that was looked at."""
        self._weighed_at: int | None = None
        """The same of what is ahead of it."""
        self._living: tuple[BlockIndex, ...] = ()
        self._gaps: tuple[BlockIndex, ...] = ()
        self._lost: dict[StepId, None] = {}
        self._depths: dict[StepId, int] = {}
        self._heaviest = chain.tree.head
        self._heaviest_in_tree: BlockIndex | None = None

    def renew(self) -> None:
        """Called once at every input: payloads that blocks wait for may have come, or have been given up."""
        if len(self._wanted) > 0 or self._lost:
            self._sorted_at = None

    @property
    def has_minimum_work(self) -> bool:
        """Whether the head has as much work as the network file wants to see."""
        return self._chain.tree.head.work >= self._rules.minimum_work

    def may_contend(self, work: int) -> bool:
        """Whether a branch with so much work may soon be the head."""
        head = self._chain.tree.head
        return work >= head.work or work + CONTENDERS_BACK * work_of(next_target(head, self._rules)) >= head.work

    @property
    def living(self) -> tuple[BlockIndex, ...]:
        """The undecided blocks of the tree that count, parents before children."""
        self._sort()
        return self._living

    @property
    def gaps(self) -> tuple[BlockIndex, ...]:
        """The lowest blocks of each branch that lack their body, stalled ones among them."""
        self._sort()
        return self._gaps

    @property
    def lost(self) -> dict[StepId, None]:
        """The undecided blocks of the tree that do not count now."""
        self._sort()
        return self._lost

    @property
    def heaviest(self) -> BlockIndex:
        """The tip of the heaviest proven branch that counts; the head wins ties."""
        self._sort()
        self._weigh()
        return self._heaviest

    @property
    def work_known(self) -> int:
        """Of the heaviest proven branch, one that leaves our chain below the final block among them."""
        rival = self._chain.ahead.heaviest_rival
        return self.heaviest.work if rival is None else max(self.heaviest.work, rival.tip.work)

    @property
    def depths(self) -> dict[StepId, int]:
        """Of each living block: how many undecided ones there are from the lowest one below it up to it, itself included."""
        self._sort()
        return self._depths

    @property
    def heaviest_in_tree(self) -> BlockIndex | None:
        """The heaviest of the living blocks."""
        self._sort()
        self._weigh()
        return self._heaviest_in_tree

    def is_stalled(self, step: StepId) -> bool:
        """Whether nobody has given the body of this block in time."""
        return step in self._stalled

    def stall(self, step: StepId) -> None:
        """Nobody gives the body of this block."""
        self._stalled[step] = None
        self._sorted_at = None

    def _weigh(self) -> None:
        ahead, head = self._chain.ahead, self._chain.tree.head
        if ahead.version == self._weighed_at:
            return
        self._weighed_at = ahead.version
        tips = tuple(branch.tip for branch in ahead.branches if self._counts(self._chain.newest_placed(branch)))
        self._heaviest_in_tree = max(self._living, key=_weight, default=None)
        in_tree = () if self._heaviest_in_tree is None else (self._heaviest_in_tree,)
        heaviest = max((*in_tree, *tips), key=_weight, default=head)
        self._heaviest = heaviest if heaviest.work > head.work else head

    def _counts(self, newest: StepId) -> bool:
        """Of a branch ahead, by the last of its blocks that is in the tree."""
        return newest not in self._lost and self._chain.tree.status(newest) not in (None, BlockStatus.INVALID)

    def _sort(self) -> None:
        tree = self._chain.tree
        if tree.version == self._sorted_at:
            return
        self._sorted_at, self._weighed_at = tree.version, None
        living: list[BlockIndex] = []
        gaps: list[BlockIndex] = []
        stalled: dict[StepId, None] = {}
        self._lost, self._depths = {}, {}
        for link in tree.undecided():  # parents before children
            is_bodiless = tree.status(link.id) is BlockStatus.BODILESS
            if is_bodiless and tree.status(link.parent) is not BlockStatus.BODILESS:
                gaps.append(link)
                if link.id in self._stalled:
                    stalled[link.id] = None
            if link.parent in self._lost or link.id in stalled or self._wanted.is_stalled(link.id):
                self._lost[link.id] = None
            else:
                living.append(link)
                self._depths[link.id] = self._depths.get(link.parent, 0) + 1
        self._stalled = stalled
        self._living, self._gaps = tuple(living), tuple(gaps)


def _weight(link: BlockIndex) -> tuple[int, StepId]:
    return link.work, link.id
