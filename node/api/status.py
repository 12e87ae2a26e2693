"""What a running peer tells of itself at /v1/status: written by the node, read by `status` and by other tools."""

import msgspec


class PeerLink(msgspec.Struct, frozen=True):
    """One connected peer. `is_outgoing`: we dialled it."""

    peer_id: str
    address: str
    is_outgoing: bool | None = None


class PuzzleStatus(msgspec.Struct, frozen=True):
    """The work behind the chain."""

    attempts_expected: float
    """Puzzle attempts that the next block takes on average."""
    share: float
    """Part of one core that this peer spends on it."""


class MemberStatus(msgspec.Struct, frozen=True):
    """One member of a total order, as this peer sees it."""

    peer_id: str
    last_round: int
    is_connected: bool
    rounds_silent: int
    """Rounds since its last block."""


class OrderStatus(msgspec.Struct, frozen=True):
    """Where a total order stands."""

    round: int
    own_round: int
    """Of our own last block."""
    commits: int
    slots_skipped: int
    timeout_ms: int
    """How long a leader is waited for."""
    waiting_for: tuple[str, ...]
    """Members whose blocks, or answers, a quorum lacks; none while rounds go on."""
    members: tuple[MemberStatus, ...]
    equivocators: tuple[str, ...] = ()
    counters: dict[str, int] = {}
    learner_behind: int = 0
    """Commits that are still with our learner, while they are many; our blocks come more slowly then."""
    quorum: int = 0
    """So many members it takes to go on."""


class SlateEntryStatus(msgspec.Struct, frozen=True):
    """A candidate that was decided on; all fitness as measured, higher is better."""

    author: str | None
    """None: the parent, "no change"."""
    claimed: float | None
    agreed: float
    measured: float | None
    """By us."""
    label: str = ""
    """What the author does not tell: "mean", "median", "a quarter of the step"."""


class GenerationStatus(msgspec.Struct, frozen=True):
    """The generation under way, and how the last one was decided."""

    height: int
    phase: str
    counted: tuple[str, ...]
    """Members whose part in the phase was delivered."""
    needed: int
    slate: tuple[SlateEntryStatus, ...] = ()
    winner: int | None = None
    """A position on the slate."""
    scorers: tuple[str, ...] = ()
    ignored: dict[str, int] = {}


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker's gradients, since the peer that tells has started."""

    peer_id: str
    """Empty: all the others together."""
    delivered: int
    accepted: int
    outcomes: dict[str, int]
    """How many by what became of them: "applied", "it does not decode", ..."""
    weight: float
    """Its part in the newest step of the model."""


class GradientStatus(msgspec.Struct, frozen=True):
    """How gradients are judged."""

    version: int
    """How often the model has moved."""
    workers: tuple[WorkerStatus, ...]
    staleness: dict[str, int]
    """Gradients by how many versions their model was old; the key is the lower end of the bin."""


class StepStatus(msgspec.Struct, frozen=True):
    """One step of the chain that ends at the head."""

    height: int
    id: str
    state_digest: str
    leader: str = ""
    """The peer that led it."""
    fitness: float | None = None
    """Where this peer has measured it, or the members have agreed on it."""
    metrics: dict[str, float] = {}
    """The task's figures for people, where this peer has measured them."""


class ClockStatus(msgspec.Struct, frozen=True):
    """This machine's wall clock, which block times follow and nothing else."""

    jumps: int = 0
    """How often it was put elsewhere since the start, or the machine slept."""
    last_jump_ms: int = 0
    """By how much it was put forth the last time; negative: back."""
    peers_ahead_ms: int | None = None
    """By how much the newest blocks of most connected peers are ahead of it; None while none came."""


class LearnerTime(msgspec.Struct, frozen=True):
    """What the learner's time has gone into, as shares of it, 0 to 1."""

    busy: float
    """Whatever it did: ranking, scoring, and following steps."""
    ranking: float
    """Finding something of its own: mutations are ranked, gradients computed."""
    scoring: float
    """Measuring what others offer."""
    waiting: float
    """The rest."""


class ProcessorTime(msgspec.Struct, frozen=True):
    """Processor time that the peer has taken since its start, in seconds."""

    ordering_s: float
    """Of the event loop's process: ordering, network, store, this API."""
    store_s: float
    """Of that, writing to the store."""
    workers_s: float
    """Of the learner, and of the puzzle where there is one."""

    @property
    def ordering_share(self) -> float | None:
        """The event loop's part of all."""
        total = self.ordering_s + self.workers_s
        return self.ordering_s / total if total else None


class NodeStatus(msgspec.Struct, frozen=True):
    """A peer's view of the network and of itself. Digests and ids are hexadecimal; None means "not known yet"."""

    version: str
    network_id: str
    peer_id: str
    network_name: str = ""
    task: str = ""
    listen: str = ""
    """HOST:PORT where other peers reach it."""
    consensus: str = ""
    is_observer: bool = False
    height: int | None = None
    head: str | None = None
    final_height: int | None = None
    finality_depth: int = 0
    """Blocks on top after which a block is final; 0: every step is final at once."""
    state_digest: str | None = None
    """Of the model at the head."""
    fitness: float | None = None
    metrics: dict[str, float] = {}
    """The task's figures for people, like test_accuracy (0 to 1)."""
    waiting_for_payloads: str = ""
    """What the learner waits for before it can go on: "2 payloads of commit 118, asked 3 peers"."""
    steps: tuple[StepStatus, ...] = ()
    """The newest steps of the chain."""
    final_steps: tuple[StepStatus, ...] = ()
    """The newest final steps, where they lie deeper than `steps` reaches; some may be among both."""
    peers: tuple[PeerLink, ...] = ()
    blocks_led: int = 0
    """Blocks of ours in the chain that ends at the head."""
    blocks_contested: int = 0
    candidates_per_second: float | None = None
    task_faults: int = 0
    """What the task has failed at since the start: measurements, mostly. Such a candidate is the worst."""
    loop_lag_p99_ms: float | None = None
    """How late the event loop wakes a sleeper, 99th percentile of the last two minutes."""
    rss_mb: float | None = None
    """Resident memory of the peer's three processes, not of a user's task; pages that they share counted once."""
    bytes_sent: int = 0
    uptime_s: float | None = None
    last_error: str | None = None
    notes: tuple[str, ...] = ()
    """The last things worth a person's attention, oldest first."""
    puzzle: PuzzleStatus | None = None
    """Under proof of work."""
    order: OrderStatus | None = None
    """Under a total order."""
    generation: GenerationStatus | None = None
    learning: str = ""
    rule: str = ""
    """How gradients become steps of the model."""
    fault: str = ""
    """How this peer misbehaves, where it was told to."""
    gradients: GradientStatus | None = None
    """Where learning is by gradients."""
    pss_mb: float | None = None
    """The same with shared pages counted in part, as the system does (proportional set size)."""
    loop_lag_max_ms: float | None = None
    bytes_received: int = 0
    clock: ClockStatus = ClockStatus()
    behind_by: int = 0
    """Blocks, or commits, that others are known to have beyond ours."""
    learner_time: LearnerTime | None = None
    """Since it has started."""
    learner_minute: LearnerTime | None = None
    """In the last minute."""
    processor: ProcessorTime | None = None
    accusations: tuple[str, ...] = ()
    """Signed evidence against peers, newest last."""
    curves: dict[str, tuple[float, ...]] = {}
    """Some values of the fitness and of each metric since the peer started, oldest first; at most 24."""
