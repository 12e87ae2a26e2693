"""The faults of a replica by name."""

from node.lab.faults.consensus.attachments import ForgottenPayload, JunkPayloads
from node.lab.faults.consensus.false_commits import EndlessJoin, FalseCommits
from node.lab.faults.consensus.false_parents import FalseParents, FarFuture, OldParents
from node.lab.faults.consensus.floods import BlockFlood, ContributionFlood, Forger, WorklessHeaders
from node.lab.faults.consensus.interceptor import InterceptedReplica, MakeReplica, OwnWorkBlocks, ReplicaSituation
from node.lab.faults.consensus.private_chain import CheapRivals, Policy, PrivateChain, SeedGrinder
from node.lab.faults.consensus.silence import Asking, Crash, Mute, Slow, Unanswering
from node.lab.faults.consensus.time_warp import TimeWarp
from node.lab.faults.consensus.twins import ForeignReplay, Twins
from node.lab.faults.consensus.withheld_parts import Serving
from node.lab.faults.consensus.withholding import SilentLeader, WithholdBlock, WithholdBody, WithholdPayload
from node.lab.faults.fault import Family, Fault, FaultParameter, Values
from node.rules.network_rules import Consensus, Learning
from node.runtime.coupling import ReplicaPort

_NONE = "none"
_OWN_KEY = "its own key, with which it signs what an honest peer would not"
_OWN_WORK = "its own work, and what it hears"

TIME_EDGE_MS = 3_600_000
"""An hour: how far ahead `time-warp` lives under total order, where block times have no edge."""

_SHARE = FaultParameter("share", 0.5, 0.0, 1.0)
_LEAD_MAX = FaultParameter("lead_max", 6, 1, 1_000, is_whole=True)
_PER_SECOND = FaultParameter("per_second", 20, 1, 1_000, is_whole=True)


def _entry(
    name: str,
    description: str,
    powers: str,
    make: MakeReplica,
    *parameters: FaultParameter,
    consensus: Consensus | None = None,
    learning: Learning | None = None,
) -> Fault[MakeReplica]:
    return Fault(name, Family.CONSENSUS, description, powers, make, parameters, consensus, learning)


def _time_warp(values: Values, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    edge_ms = TIME_EDGE_MS if situation.members else situation.future_limit_ms
    return TimeWarp(replica, round(values["edges"] * edge_ms))


def _private_chain(policy: Policy, values: Values, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    return InterceptedReplica(replica, PrivateChain(policy, int(values["lead_max"]), OwnWorkBlocks(situation.identity)))


def _flood(values: Values, replica: ReplicaPort, situation: ReplicaSituation, *, has_parent: bool) -> ReplicaPort:
    forger = Forger(situation, replica.ordering)
    return InterceptedReplica(replica, BlockFlood(int(values["per_second"]), forger, has_parent=has_parent))


def _contribution_flood(values: Values, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    return InterceptedReplica(replica, ContributionFlood(int(values["per_second"]), situation, replica.ordering))


def _withhold_payload(values: Values, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    return _withholding(values, Serving.SILENT if values["silent"] else Serving.DENIES, replica, situation)


def _withholding(values: Values, answer: Serving, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    interceptor = WithholdPayload(values["share"], answer)
    situation.withholding.follow(interceptor.serving)
    return InterceptedReplica(replica, interceptor)


def _forgotten_payload(values: Values, replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    interceptor = ForgottenPayload(round(1_000 * values["after"]), gives_again=bool(values["gives"]), situation=situation)
    situation.withholding.follow(interceptor.serving)
    return InterceptedReplica(replica, interceptor)


CONSENSUS_FAULTS: tuple[Fault[MakeReplica], ...] = (
    _entry(
        "crash",
        "stops for ever `after` seconds from its start, its connections open",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, Crash(round(1_000 * values["after"]))),  # noqa: ARG005
        FaultParameter("after", 10.0, 0.0, 1e6),
    ),
    _entry(
        "mute",
        "hears and works, and sends nothing",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, Mute()),  # noqa: ARG005
    ),
    _entry(
        "unanswering",
        "tells of all that it has, and answers no request for it",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, Unanswering(situation)),  # noqa: ARG005
    ),
    _entry(
        "slow",
        "sends everything `delay_ms` late",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, Slow(int(values["delay_ms"]))),  # noqa: ARG005
        FaultParameter("delay_ms", 500, 1, 3_600_000, is_whole=True),
    ),
    _entry(
        "equivocate",
        "runs twice with one key; a `share` of the others sees the second twin",
        "a second machine with its key, and the choice of who sees which",
        lambda values, replica, situation: Twins(replica, situation.make_twin(), values["share"]),
        _SHARE,
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "withhold-block",
        "keeps its blocks from a `share` of the others",
        "the choice of its victims",
        lambda values, replica, situation: InterceptedReplica(replica, WithholdBlock(values["share"], situation.own_blocks)),
        _SHARE,
    ),
    _entry(
        "withhold-body",
        "shows the headers of its blocks, and gives their bodies to nobody",
        _OWN_WORK,
        lambda _, replica, situation: InterceptedReplica(replica, WithholdBody(situation.identity)),
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "withhold-payload",
        "names attachments and keeps them from a `share` of the others, who are told so unless it is `silent`",
        "the choice of its victims",
        _withhold_payload,
        FaultParameter("share", 1.0, 0.0, 1.0),
        FaultParameter("silent", 1, 0, 1, is_whole=True),
        learning=Learning.GRADIENT,
    ),
    _entry(
        "late-parts",
        "gives a `share` of the others each part of a payload or a state at the last moment",
        "the choice of its victims",
        lambda values, replica, situation: _withholding(values, Serving.LATE, replica, situation),
        FaultParameter("share", 1.0, 0.0, 1.0),
        learning=Learning.GRADIENT,
    ),
    _entry(
        "forgotten-payload",
        "names a payload in a block that lacks a parent, and `after` seconds later in a sound one; if it `gives` it once more",
        _OWN_KEY,
        _forgotten_payload,
        FaultParameter("after", 10.0, 0.1, 1e6),
        FaultParameter("gives", 1, 0, 1, is_whole=True),
        consensus=Consensus.TOTAL_ORDER,
        learning=Learning.GRADIENT,
    ),
    _entry(
        "old-parents",
        "names leaders' blocks only when they are old, so it never votes for one; waits `hold_ms` at most",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, OldParents(int(values["hold_ms"]), situation)),
        FaultParameter("hold_ms", 2_000, 1, 3_600_000, is_whole=True),
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "silent-leader",
        "does not send the blocks that it leads, unless it is asked for them",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, SilentLeader(situation)),  # noqa: ARG005
    ),
    _entry(
        "far-future",
        "sends with each block a forged one, `ahead` rounds later",
        _OWN_KEY,
        lambda values, replica, situation: InterceptedReplica(replica, FarFuture(int(values["ahead"]), situation)),
        FaultParameter("ahead", 1_000, 1, 1e9, is_whole=True),
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "false-parents",
        "sends before each block of its own one that names a parent wrongly, twice",
        _OWN_KEY,
        lambda values, replica, situation: InterceptedReplica(replica, FalseParents(situation)),  # noqa: ARG005
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "false-commits",
        "answers who is behind with commits that are false, in turns in every way",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, FalseCommits()),  # noqa: ARG005
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "foreign-replay",
        "sends beside each block of its own one that it has signed for another network",
        _OWN_KEY,
        lambda values, replica, situation: InterceptedReplica(replica, ForeignReplay(situation)),  # noqa: ARG005
    ),
    _entry(
        "time-warp",
        "lives ahead, by `edges` times what others accept (total order: an hour)",
        _NONE,
        _time_warp,
        FaultParameter("edges", 1.0, 0.0, 100.0),
    ),
    _entry(
        "private-chain",
        "mines selfishly: shows its branch when others catch up, or at a lead of `lead_max`",
        _OWN_WORK,
        lambda values, replica, situation: _private_chain(Policy.SELFISH, values, replica, situation),
        _LEAD_MAX,
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "reorg-flood",
        "keeps blocks back, and shows each against the rival of its height, so that heads move",
        _OWN_WORK,
        lambda values, replica, situation: _private_chain(Policy.MATCHING, values, replica, situation),
        _LEAD_MAX,
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "header-flood",
        "sends `per_second` signed blocks without work",
        _OWN_KEY,
        lambda values, replica, situation: _flood(values, replica, situation, has_parent=True),
        _PER_SECOND,
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "orphan-flood",
        "sends `per_second` signed blocks whose parents do not exist",
        _OWN_KEY,
        lambda values, replica, situation: _flood(values, replica, situation, has_parent=False),
        _PER_SECOND,
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "contribution-flood",
        "tells `per_second` candidates or lists a second with the best of all claims, each by a key of its own",
        "keys without end, and blocks for none of them",
        _contribution_flood,
        _PER_SECOND,
        consensus=Consensus.PROOF_OF_WORK,
        learning=Learning.EVOLUTION,
    ),
    _entry(
        "workless-headers",
        "sends chains of `length` signed blocks without work on top of the head",
        _OWN_KEY,
        lambda values, replica, situation: InterceptedReplica(replica, WorklessHeaders(int(values["length"]), situation)),
        FaultParameter("length", 10, 1, 100, is_whole=True),
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "cheap-rivals",
        "works alone on a chain of its own, and shows newcomers its headers; its `bodies` too, where that is 1",
        _OWN_WORK,
        lambda values, replica, situation: InterceptedReplica(replica, CheapRivals(gives_bodies=bool(values["bodies"]))),  # noqa: ARG005
        FaultParameter("bodies", 0, 0, 1, is_whole=True),
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "endless-join",
        "answers who is behind with `records` commits of `references` blocks that never were, one after the other",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(
            replica, EndlessJoin(int(values["records"]), int(values["references"]), situation)
        ),
        FaultParameter("records", 1, 1, 64, is_whole=True),
        FaultParameter("references", 16, 0, 1_024, is_whole=True),
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "junk-payloads",
        "names eight payloads of `length` bytes of junk in its blocks, and hands them over",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, JunkPayloads(int(values["length"]), situation)),
        FaultParameter("length", 1_000, 1, 1_000_000, is_whole=True),
        consensus=Consensus.TOTAL_ORDER,
        learning=Learning.GRADIENT,
    ),
    _entry(
        "asking",
        "asks each peer `per_second` times a second for all that there is, and says nothing else",
        _NONE,
        lambda values, replica, situation: InterceptedReplica(replica, Asking(int(values["per_second"]), situation)),
        FaultParameter("per_second", 8, 1, 1_000, is_whole=True),
    ),
    _entry(
        "seed-grinder",
        "throws away all but one in 2**`bits` of its solved puzzles, for a batch that it likes",
        _OWN_WORK,
        lambda values, replica, situation: InterceptedReplica(replica, SeedGrinder(int(values["bits"]))),  # noqa: ARG005
        FaultParameter("bits", 2, 1, 32, is_whole=True),
        consensus=Consensus.PROOF_OF_WORK,
        learning=Learning.EVOLUTION,
    ),
)
"""In the order in which they are shown."""
