"""A testnet for people: what the screen shows, and the document that `--json` prints at its end."""

from collections.abc import Iterable, Sequence

import msgspec

from node.api.status import NodeStatus, StepStatus
from node.cli.status import waiting_text
from node.common.errors import EXIT_DISAGREEMENT
from node.common.goal import ACCURACY
from node.common.wording import counted, finality
from node.lab.testnet.control import CommandReport, PeerReport
from node.lab.testnet.history import GoalHistory
from node.lab.testnet.live_view import PeerView, TestnetView
from node.lab.testnet.objective import GoalCheck, TestnetOutcome, figures_of
from node.lab.testnet.peer import TestnetPeer, last_error
from node.lab.testnet.settings import TestnetSettings
from node.rules.network_rules import Learning, NetworkRules, finality_depth, network_id


def testnet_view(  # noqa: PLR0917 - each is another thing
    settings: TestnetSettings,
    rules: NetworkRules,
    peers: Sequence[TestnetPeer],
    goal_check: GoalCheck,
    elapsed_s: float,
    history: GoalHistory,
) -> TestnetView:
    """All that the screen shows now."""
    agreed = goal_check.agreed()
    return TestnetView(
        network_id=network_id(rules).hex(),
        elapsed_s=elapsed_s,
        deadline_s=settings.deadline_s,
        goal=settings.goal,
        scenario=settings.scenario,
        disagreement=goal_check.disagreement(),
        order=order_line(peers),
        is_gradient=rules.learning is Learning.GRADIENT,
        peers=tuple(peer_view(peer) for peer in peers),
        agreed_height=None if agreed is None else agreed.height,
        agreed_digest=None if agreed is None else agreed.state_digest,
        agreed_figure=None if agreed is None else figures_of(agreed).get(settings.goal.metric),
        curves=history.sparklines,
    )


def plot_title(settings: TestnetSettings, rules: NetworkRules) -> str:
    """What was learned, how, and by whom: "digits by evolution over total-order: 7 peers, 2 of them faulty (sign-flip)"."""
    faulty = f", {settings.faulty} of them faulty ({settings.fault})" if settings.faulty else ""
    how = f"{rules.task.name} by {rules.learning} over {rules.consensus}"
    return f"{how}: {counted(settings.nodes, 'peer')}{faulty}"


def order_line(peers: Sequence[TestnetPeer]) -> str | None:
    """Where the total order stands, by the living member that has come furthest."""
    orders = [peer.status.order for peer in peers if peer.is_running and peer.status and peer.status.order]
    if not orders:
        return None
    order = max(orders, key=lambda order: order.round)
    names = {peer.peer_id: peer.name for peer in peers}
    waiting = f", waiting for {waiting_text(order, names)}" if order.waiting_for else ""
    commits, skipped = counted(order.commits, "commit"), counted(order.slots_skipped, "slot")
    return f"round {order.round:,}, {commits}, {skipped} skipped{waiting}"


def peer_view(peer: TestnetPeer) -> PeerView:
    """A peer as the screen shows it; a dead one as it was last seen."""
    status, state = peer.status, peer.state
    conduct = conduct_text(peer)
    if status is None:
        return PeerView(name=peer.name, state=state, conduct=conduct, has_say=peer.has_say, last_error=last_error(peer))
    return PeerView(
        name=peer.name,
        state=state,
        height=status.height,
        head=status.head,
        fitness=status.fitness,
        test_accuracy=status.metrics.get(ACCURACY),
        candidates_per_second=status.candidates_per_second,
        learner_busy=None if status.learner_minute is None else status.learner_minute.busy,
        ordering_share=None if status.processor is None else status.processor.ordering_share,
        blocks_led=status.blocks_led,
        accepted=accepted_share(status, peer.peer_id),
        peers_connected=links(peer),
        conduct=conduct,
        has_say=peer.has_say,
        last_error=last_error(peer) or status.last_error,
    )


def links(peer: TestnetPeer) -> int:
    """To how many peers it is connected, as it last told; the dead are connected to nobody."""
    return len(peer.status.peers) if peer.status is not None and peer.is_running else 0


def conduct_text(peer: TestnetPeer) -> str | None:
    """What sets a peer apart from an honest one that reaches all others; None for such a one."""
    fault = peer.fault
    texts = (
        f"faulty: {fault}" if fault else "was faulty" if peer.was_faulty else "",
        "" if peer.group is None else f"in group {peer.group}",
    )
    return ", ".join(filter(None, texts)) or None


def outcome_document(
    rules: NetworkRules, peers: Sequence[TestnetPeer], commands: Iterable[CommandReport], outcome: TestnetOutcome
) -> dict[str, object]:
    """The whole of how it ended, for `--json`."""
    statuses = [peer.status for peer in peers if peer.status is not None and peer.is_running]
    agreed = outcome.agreed
    return {
        "agreed": agreed is not None and outcome.exit_code != EXIT_DISAGREEMENT,
        "reason": outcome.reason,
        "network_id": network_id(rules).hex(),
        "height": None if agreed is None else agreed.height,
        "final_height": lowest_final(statuses),
        "finality_depth": finality_depth(rules),
        "finality": None if agreed is None else finality(agreed.height, lowest_final(statuses), finality_depth(rules)),
        "state_digest": None if agreed is None else agreed.state_digest,
        "test_accuracy": None if agreed is None else agreed.metrics.get(ACCURACY),
        "fitness": None if agreed is None else agreed.fitness,
        "seconds": round(outcome.seconds, 3),
        "bytes_sent_per_block": bytes_per_block_and_link(statuses),
        "commands": [msgspec.structs.asdict(command) for command in commands],
        "peers": [peer_document(peer, agreed) for peer in peers],
    }


def lowest_final(statuses: Sequence[NodeStatus]) -> int:
    """What is final to all of them."""
    return min((status.final_height or 0 for status in statuses), default=0)


def peer_document(peer: TestnetPeer, agreed: StepStatus | None) -> dict[str, object]:
    """A peer at the agreed step, if it holds it, else at its head."""
    who = {
        "id": peer.peer_id,
        "name": peer.name,
        "state": peer.state.value,
        "is_running": peer.is_running,
        "fault": peer.fault or None,
        "was_faulty": peer.was_faulty,
        "group": peer.group,
    }
    status = peer.status
    if status is None:
        return {**who, "last_error": last_error(peer)}
    holds = agreed is not None and any(step.id == agreed.id for step in status.steps)
    return {
        **who,
        "height": agreed.height if holds and agreed else status.height,
        "state_digest": agreed.state_digest if holds and agreed else status.state_digest,
        "test_accuracy": agreed.metrics.get(ACCURACY) if holds and agreed else status.metrics.get(ACCURACY),
        "head_height": status.height,
        "head": status.head,
        "final_height": status.final_height,
        "blocks_led": status.blocks_led,
        "blocks_contested": status.blocks_contested,
        "gradients_accepted": accepted_share(status, peer.peer_id),
        "candidates_per_second": status.candidates_per_second,
        "learner_time": msgspec.to_builtins(status.learner_time),
        "learner_minute": msgspec.to_builtins(status.learner_minute),
        "processor": msgspec.to_builtins(status.processor),
        "ordering_share": None if status.processor is None else status.processor.ordering_share,
        "peers_connected": links(peer),
        "bytes_sent": status.bytes_sent,
        "loop_lag_p99_ms": status.loop_lag_p99_ms,
        "rss_mb": status.rss_mb,
        "pss_mb": status.pss_mb,
        "last_error": last_error(peer) or status.last_error,
    }


def peer_report(number: int, peer: TestnetPeer) -> PeerReport:
    """A peer as the control API tells of it."""
    status = peer.status
    return PeerReport(
        number=number,
        name=peer.name,
        id=peer.peer_id,
        state=peer.state.value,
        pid=peer.process.pid if peer.is_running and peer.process is not None else None,
        fault=peer.fault,
        was_faulty=peer.was_faulty,
        group=peer.group,
        height=None if status is None else status.height,
        state_digest=None if status is None else status.state_digest,
        test_accuracy=None if status is None else status.metrics.get(ACCURACY),
        peers_connected=links(peer),
        data_dir=str(peer.settings.data_dir),
    )


def bytes_per_block_and_link(statuses: list[NodeStatus]) -> float | None:
    """Mean over the peers of bytes sent, for each block of the chain and each link of the peer."""
    shares = [status.bytes_sent / (status.height * len(status.peers)) for status in statuses if status.height and status.peers]
    return round(sum(shares) / len(shares), 1) if shares else None


def accepted_share(status: NodeStatus, worker: str) -> float | None:
    """The share of a worker's gradients that had, or may still have, a part in the model; None without any."""
    workers = () if status.gradients is None else status.gradients.workers
    found = next((one for one in workers if one.peer_id == worker and one.delivered), None)
    return None if found is None else found.accepted / found.delivered
