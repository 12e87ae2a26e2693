"""A peer that evolves under proof of work, and the path that it makes by itself."""

from learning.evolution.learner import EvolutionLearner
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.learner import AuthoredPayload, Participant, ProposedStep, StateKept
from learning.task import Task
from tests.learning.following.line_world import Shelf
from tests.learning.following.tree_world import TreePeer
from tests.learning.sphere import SphereTask

NETWORK = b"n" * 32
GENESIS = b"g" * 32
ALICE = b"a" * 32
BOB = b"b" * 32
RULES = EvolutionRules(
    offspring=32,
    recipe_length_max=1,
    step_size="0.03",
    step_size_factor="0.99",
    step_size_floor="0.001",
    fitness_tolerance=10,
    regression_allowed=0,
)
SETTINGS = SearchSettings(race_samples=16, finalists=4, chunk=8)
SLICES_MAX = 2_000


class Peer(TreePeer):
    """Small, and quick to find something."""

    def __init__(
        self,
        author: bytes,
        rules: EvolutionRules = RULES,
        *,
        task: Task | None = None,
        restored: StateKept | None = None,
        is_searching: bool = True,
    ) -> None:
        self.task = task or SphereTask()
        participant = Participant(NETWORK, author, GENESIS, is_searching=is_searching)
        super().__init__(author, EvolutionLearner(self.task, rules, participant, SETTINGS, restored), Shelf())

    def find(self) -> AuthoredPayload:
        """Search until something is found."""
        for _ in range(SLICES_MAX):
            if found := self.work():
                return found[0]
        raise AssertionError("nothing found")


def grown(peer: Peer, generations: int) -> list[ProposedStep]:
    """The path that one peer makes by itself from genesis, each step checked and adopted by it."""
    path: list[ProposedStep] = []
    head = GENESIS
    peer.adopt(head)
    for height in range(1, generations + 1):
        peer.assess(peer.find())
        path.append(peer.lead(head, height))
        head = path[-1].id
        peer.check(path[-1])
        peer.adopt(head)
    return path
