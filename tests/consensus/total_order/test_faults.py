"""Members that crash, lag, lie and restart: the others agree, go on, and say what happened. Real machines, virtual time."""

import functools
import random
from collections.abc import Callable, Iterable

import pytest
from msgspec import structs

from consensus.effects import Offence
from consensus.protocol import Submitted
from consensus.total_order.block import BLOCK_CODEC, Block, Reference, proves_equivocation
from consensus.total_order.machine import TotalOrderRules
from consensus.total_order.messages import BlockMessage, Blocks
from consensus.total_order.records import VERTEX_TABLE
from consensus.total_order.validation import ROUNDS_AHEAD_MAX
from consensus.types import PeerId
from tests.consensus.total_order.forge import NETWORK, Forged, committee_of
from tests.consensus.total_order.network import RULES, Disk, Network, Node, assert_agreement, assert_honest, payloads, read
from tests.consensus.total_order.puppets import (
    Plan,
    Puppet,
    hidden_chain,
    late_as_leader,
    mute_as_leader,
    one_in_turn,
    split_audience,
    withhold_from,
)

SHALLOW = structs.replace(RULES, gc_depth=3)


def height(node: Node) -> int:
    return node.machine.status.commits


def goes_on(network: Network, nodes: list[Node], commits: int = 20, limit_ms: int = 20_000) -> None:
    """Everybody commits so many more; then all agree."""
    goal = max(height(node) for node in nodes) + commits
    network.run_until(lambda: all(height(node) >= goal for node in nodes), limit_ms)
    assert_agreement(nodes)
    assert_honest(network, nodes)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_payload_is_delivered_once_and_in_the_same_order_to_all(size: int) -> None:
    network = Network(size, seed=size)
    nodes = network.add_all()
    sent = [f"{node.name}/{number}".encode() for number in range(12) for node in nodes]
    for number, payload in enumerate(sent):
        network.submit(nodes[number % size], payload)
        network.run(20)
    network.run_until(lambda: all(len(payloads(node)) == len(sent) for node in nodes), 10_000)
    assert sorted(payloads(nodes[0])) == sorted(sent)
    assert all(payloads(node) == payloads(nodes[0]) for node in nodes)
    goes_on(network, nodes)


def test_real_signatures_give_the_same_network() -> None:
    network = Network(4, is_real=True)
    nodes = network.add_all()
    network.submit(nodes[2], b"hello")
    goes_on(network, nodes, commits=6)
    assert payloads(nodes[0]) == [b"hello"]


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8])
def test_f_crashed_members_cost_skips_and_nothing_else(size: int) -> None:
    network = Network(size)
    nodes = network.add_all()
    goes_on(network, nodes)
    faulty_max = committee_of(size).faulty_max
    for node in nodes[-faulty_max:]:
        network.crash(node)
    living = nodes[:-faulty_max]
    start = network.now
    goes_on(network, living, commits=30)
    status = living[0].machine.status
    assert status.counters.direct_skips > 0
    assert network.now - start < 30 * 3 * 60, "nobody waits for the leaders that are gone"


def test_with_too_few_members_nothing_goes_on_and_the_status_says_for_whom_it_waits() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    for node in nodes[2:]:
        network.crash(node)
    network.run(3_000)
    before = [height(node) for node in nodes[:2]]
    network.run(5_000)
    assert [height(node) for node in nodes[:2]] == before
    assert nodes[0].machine.status.waiting_for == (nodes[2].id, nodes[3].id)
    back = network.restart(nodes[3])
    goes_on(network, [*nodes[:2], back])


def test_a_split_without_quorum_on_either_side_heals() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.split(nodes[:2], nodes[2:])
    network.run(4_000)
    network.heal()
    goes_on(network, nodes)


@pytest.mark.parametrize("rules", [RULES, SHALLOW])
def test_a_member_that_was_away_for_long_catches_up_by_ranges_of_commits(rules: TotalOrderRules) -> None:
    network = Network(4, rules=rules)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.split(nodes[:3], nodes[3:])
    network.submit(nodes[3], b"said while alone")
    goes_on(network, nodes[:3], commits=150)
    network.heal()
    goes_on(network, nodes)
    counters = nodes[3].machine.status.counters
    assert counters.synced_commits > 0
    network.run_until(lambda: b"said while alone" in payloads(nodes[0]), 5_000)


def test_a_member_that_is_a_little_behind_fills_the_rounds_that_it_skipped() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.split(nodes[:3], nodes[3:])
    goes_on(network, nodes[:3], commits=4)
    network.heal()
    goes_on(network, nodes)
    counters = nodes[3].machine.status.counters
    assert counters.rounds_filled >= 3
    assert counters.synced_commits == 0


def test_a_payload_in_a_block_that_fell_below_the_horizon_is_sent_again() -> None:
    network = Network(4, rules=SHALLOW)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.filters[nodes[3].id] = lambda _, __, message: None if b"precious" in message else message
    network.submit(nodes[3], b"precious")
    network.run(300)
    network.split(nodes[:3], nodes[3:])
    goes_on(network, nodes[:3], commits=20)
    del network.filters[nodes[3].id]
    network.heal()
    goes_on(network, nodes)
    network.run_until(lambda: b"precious" in payloads(nodes[0]), 5_000)
    assert payloads(nodes[0]).count(b"precious") == 1
    assert nodes[3].machine.status.counters.payloads_repeated >= 1


def test_a_payload_that_a_block_of_an_earlier_life_carries_comes_back_when_that_block_is_never_ordered() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    precious = Submitted(nodes[3].steps[-1].id, b"precious")
    backup, kept_back = nodes[3].disk.copy(), list[bytes]()

    def keep_back(_: Node, __: object, message: bytes) -> bytes | None:
        if b"precious" not in message:
            return message
        kept_back.append(message)
        return None

    network.filters[nodes[3].id] = keep_back
    network.feed(nodes[3], precious)
    network.run_until(lambda: bool(kept_back), 1_000)
    network.crash(nodes[3])
    del network.filters[nodes[3].id]
    nodes[3] = network.restart(nodes[3], backup, nodes[3].guard)
    goes_on(network, nodes, commits=2)
    while nodes[3].machine.status.own_round <= nodes[3].machine.status.round:
        network.run(1)
    network.feed(nodes[3], precious)  # it waits for the next round
    network.say(nodes[0].id, nodes[3], kept_back[0])
    network.run_until(lambda: b"precious" in payloads(nodes[0]), 20_000)
    goes_on(network, nodes)
    assert [payloads(node).count(b"precious") for node in nodes[:3]] == [1, 1, 1]


# --- restarts -------------------------------------------------------------------------------------------------------


def test_a_member_killed_again_and_again_never_contradicts_itself() -> None:
    network = Network(4, seed=3)
    network.add_all()
    chance = random.Random(3)
    for _ in range(12):
        victim = network.nodes[network.members[chance.randrange(4)]]
        network.crash(victim)
        network.run(chance.randint(1, 400))
        network.restart(victim)
        network.run(chance.randint(1, 400))
        assert_agreement(network.nodes.values())
    goes_on(network, [network.nodes[member] for member in network.members])


def test_all_members_restart_at_once_and_go_on() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    for node in nodes:
        network.crash(node)
    restarted = [network.restart(node) for node in nodes]
    assert restarted[0].machine.status.is_recovering
    assert restarted[0].machine.status.commits == height(nodes[0])
    goes_on(network, restarted)


def test_a_restart_delivers_again_what_the_learner_has_lost() -> None:
    network = Network(4)
    nodes = network.add_all()
    for number in range(5):
        network.submit(nodes[0], f"payload {number}".encode())
        network.run(200)
    steps = list(nodes[0].steps)
    network.crash(nodes[0])
    again = network.add(nodes[0].name, nodes[0].disk.copy(), nodes[0].guard)
    assert again.steps[len(steps) :] == steps  # `add` goes on with the steps of the earlier incarnation
    network.crash(again)
    half = len(steps) // 2
    again.steps = []
    part = network.add(again.name, again.disk.copy(), again.guard, replay_from=steps[half].id)
    assert part.steps[: len(steps) - half - 1] == steps[half + 1 :]


@pytest.mark.parametrize("with_guard", [True, False])
def test_an_old_backup_does_not_equivocate(with_guard: bool) -> None:
    """The signed round alone, and the answers of the members alone, are each enough."""
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    backup, guard = nodes[1].disk.copy(), nodes[1].guard
    goes_on(network, nodes)
    network.crash(nodes[1])
    signed_before = nodes[1].guard
    nodes[1] = network.restart(nodes[1], backup, signed_before if with_guard else guard)
    goes_on(network, nodes)
    assert nodes[1].machine.status.own_round > signed_before


def test_a_wiped_member_asks_before_it_signs() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.crash(nodes[1])
    goes_on(network, [nodes[0], *nodes[2:]], commits=5)
    nodes[1] = network.restart(nodes[1], Disk(), guard=0)
    assert nodes[1].machine.status.is_recovering
    assert nodes[1].machine.status.waiting_for == (nodes[0].id, nodes[2].id, nodes[3].id)
    goes_on(network, nodes)


def test_a_member_without_answers_signs_nothing() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.crash(nodes[1])
    network.split([nodes[1]], [nodes[0], *nodes[2:]])
    alone = network.restart(nodes[1])
    network.run(5_000)
    assert alone.machine.status.is_recovering
    assert alone.machine.status.own_round == max(number for member, number in network.signed if member == alone.id)
    network.heal()
    goes_on(network, [alone, nodes[0], *nodes[2:]])


# --- liars ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "rules"), [(4, RULES), (5, SHALLOW), (7, RULES)])
def test_an_equivocator_with_a_split_audience_is_exposed_and_left_out(size: int, rules: TotalOrderRules) -> None:
    network = Network(size, rules=rules, seed=size, is_real=size == 4)
    nodes = [network.add_member(index) for index in range(size - 1)]
    half = len(nodes) // 2
    puppet = Puppet(network, size - 1, split_audience(nodes[:half], nodes[half:]))
    goes_on(network, nodes, commits=30)
    for node in nodes:
        assert node.machine.status.equivocators == (puppet.id,)
        assert [accusation.offence for accusation in node.accused] == [Offence.EQUIVOCATION]
        if network.is_real:
            assert all(proves_equivocation(committee_of(size), NETWORK, accusation) for accusation in node.accused)
    number = nodes[0].machine.status.round
    named = {parent.author for block in _blocks_of(nodes[0], number) for parent in block.content.parents}
    assert named == set(range(size - 1)), "nobody references it any more"


@pytest.mark.parametrize("size", [4, 7])
def test_who_was_away_while_equivocators_made_up_the_quorum_comes_back_and_all_go_on(size: int) -> None:
    """The rounds that it missed hold too few blocks of others: the next one has to build on what the others have built on."""
    network = Network(size, seed=size)
    liars = committee_of(size).faulty_max
    nodes = [network.add_member(index) for index in range(size - liars)]

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        made = puppet.make("a", number)
        yield made, nodes
        twins.append((puppet.id, puppet.forge.block(puppet.index, number, made.block.content.parents, time_ms=2)))
        if is_over:
            yield twins[-1][1], nodes

    is_over = False
    known: dict[bytes, Forged] = {}
    twins: list[tuple[PeerId, Forged]] = []
    puppets = [Puppet(network, size - 1 - liar, plan, blocks=known) for liar in range(liars)]
    goes_on(network, nodes)
    away = nodes[-liars:]
    for node in away:
        network.crash(node)
    here = nodes[:-liars]
    goes_on(network, here, commits=3 * RULES.gc_depth)
    is_over = True
    network.run_until(lambda: all(len(node.machine.status.equivocators) == liars for node in here), 5_000)
    for puppet in puppets:
        puppet.is_active = False
    nodes = [*here, *(network.restart(node) for node in away)]
    for node in nodes[-liars:]:  # who comes back learns of it at once, by blocks of the rounds that it knows
        for liar, twin in twins:
            if twin.block.content.round == node.machine.status.round:
                network.say(liar, node, BlockMessage(twin.block))
        assert len(node.machine.status.equivocators) == liars
    goes_on(network, nodes)
    number = nodes[0].machine.status.round
    named = {parent.author for block in _blocks_of(nodes[0], number) for parent in block.content.parents}
    assert named == set(range(size - liars)), "nobody references them any more"


def _blocks_of(node: Node, number: int) -> list[Block]:
    rows = [(key, value) for (table, key), value in node.disk.tables.items() if table == VERTEX_TABLE]
    return [BLOCK_CODEC.decode(value) for key, value in rows if int.from_bytes(key[:8], "big") == number]


def test_evidence_survives_a_restart() -> None:
    network = Network(4)
    nodes = [network.add_member(index) for index in range(3)]
    puppet = Puppet(network, 3, split_audience(nodes[:1], nodes[1:]))
    goes_on(network, nodes)
    puppet.is_active = False
    network.crash(nodes[0])
    again = network.restart(nodes[0])
    assert again.machine.status.equivocators == (puppet.id,)


@pytest.mark.parametrize("size", [4, 7])
def test_blocks_that_their_author_withholds_come_from_the_others(size: int) -> None:
    network = Network(size)
    nodes = [network.add_member(index) for index in range(size - 1)]
    Puppet(network, size - 1, withhold_from(nodes, nodes[:1]), answers=False)
    goes_on(network, nodes, commits=40)
    counters = nodes[0].machine.status.counters
    assert counters.blocks_fetched > 0
    assert sum(node.machine.status.counters.blocks_pushed for node in nodes) > 0
    assert nodes[0].machine.status.members[size - 1].last_round > 20


@pytest.mark.slow
def test_a_block_that_two_faulty_members_keep_to_themselves_blocks_nobody_for_longer_than_the_horizon() -> None:
    network = Network(7, rules=SHALLOW)
    nodes = [network.add_member(index) for index in range(6)]
    puppet = Puppet(network, 6, withhold_from(nodes, nodes[1:]), answers=False)
    key = puppet.own["a"].block.content.author

    def keep_to_itself(_: Node, receiver: object, message: bytes) -> bytes | None:
        told = read(message)
        blocks = (told.block,) if isinstance(told, BlockMessage) else told.blocks if isinstance(told, Blocks) else ()
        return None if any(block.content.author == key for block in blocks) else message

    network.filters[nodes[0].id] = keep_to_itself
    honest = nodes[1:]
    goes_on(network, honest, commits=60)
    for node in honest:
        status = node.machine.status
        assert status.suspended_released > 0
        assert status.suspended_dropped > 0
        assert status.suspended < 40
    goal = height(honest[0]) + 10
    network.run_until(lambda: height(nodes[0]) >= goal, 20_000)


def test_a_leader_that_is_mute_only_when_it_leads_is_waited_for_and_skipped() -> None:
    network = Network(4)
    nodes = [network.add_member(index) for index in range(3)]
    Puppet(network, 3, mute_as_leader(nodes))
    goes_on(network, nodes, commits=30)
    status = nodes[0].machine.status
    assert status.counters.direct_skips >= 5
    assert status.timeout_ms == 2 * RULES.delta_ms_min, "skips alone do not make the wait longer"


BUSY = TotalOrderRules(round_interval_ms=1, idle_interval_ms=1)


@functools.cache
def commits_per_second(size: int, plan: Callable[[list[Node]], Plan] | None, liars: int) -> float:
    """At the slowest honest member, while all of them create blocks as fast as they can."""
    network = Network(size, rules=BUSY)
    nodes = [network.add_member(index) for index in range(size - liars if plan else size)]
    for index in range(len(nodes), size):
        assert plan is not None
        Puppet(network, index, plan(nodes), answers=False, waits_for_all=True)
    network.run(4_000)
    before = height(nodes[0])
    network.run(8_000)
    assert_agreement(nodes)
    assert_honest(network, nodes)
    return (min(height(node) for node in nodes) - before) / 8


@pytest.mark.slow
@pytest.mark.parametrize(("size", "liars"), [(4, 1), (7, 2)])
@pytest.mark.parametrize(
    ("plan", "share"),
    [
        (mute_as_leader, 0.35),
        (one_in_turn, 0.15),
        (lambda nodes: hidden_chain(nodes, 5), 0.6),
        (lambda nodes: hidden_chain(nodes, 40), 0.6),
    ],
    ids=["mute as leaders", "a block to one member in turn", "short chains to one", "long chains to one"],
)
def test_members_that_keep_the_others_waiting_leave_them_a_good_part_of_their_pace(
    size: int, liars: int, plan: Callable[[list[Node]], Plan], share: float
) -> None:
    assert commits_per_second(size, plan, liars) > share * commits_per_second(size, None, 0)


def test_delays_that_vary_make_nobody_push_what_is_on_its_way() -> None:
    network = Network(7, rules=BUSY, delays=(5, 60))
    nodes = network.add_all()
    network.run(6_000)
    created, pushed = (
        sum(getattr(node.machine.status.counters, name) for node in nodes) for name in ("blocks_created", "blocks_pushed")
    )
    assert pushed < 0.1 * created * (len(nodes) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_leader_that_shows_its_block_to_one_member_only_is_decided_by_anchors(seed: int) -> None:
    hasty = TotalOrderRules(gc_depth=20, round_interval_ms=1, idle_interval_ms=1, delta_ms_min=5, delta_ms_max=10)
    network = Network(7, rules=hasty, seed=seed, delays=(1, 100))
    nodes = [network.add_member(index) for index in range(6)]
    Puppet(network, 6, late_as_leader(nodes), answers=False)
    goes_on(network, nodes, commits=60, limit_ms=30_000)
    counters = nodes[0].machine.status.counters
    ways = (counters.direct_commits, counters.direct_skips, counters.indirect_commits, counters.indirect_skips)
    assert min(ways) > 0
    assert counters.blocks_pushed > 0


def test_a_flood_of_far_future_blocks_is_not_kept() -> None:
    network = Network(4)
    nodes = [network.add_member(index) for index in range(3)]
    puppet = Puppet(network, 3, withhold_from(nodes, nodes))
    goes_on(network, nodes)
    first = network.nodes[nodes[0].id].machine.status.round
    for number in range(first + 2, first + 2_000):
        parents = [Reference(number - 1, author, bytes([author, number % 256]) * 16) for author in (3, 0, 1, 2)]
        network.puppet_send(puppet.id, nodes[0], BlockMessage(puppet.forge.block(3, number, parents).block))
    network.run(200)
    status = nodes[0].machine.status
    assert status.counters.blocks_too_far > 1_800
    assert status.suspended <= ROUNDS_AHEAD_MAX + status.round - first
    goes_on(network, nodes)


def test_clocks_minutes_apart_change_nothing() -> None:
    network = Network(4)
    network.clock_skew = dict(zip(network.members, (0, -300_000, 240_000, 7), strict=True))
    nodes = network.add_all()
    goes_on(network, nodes, commits=40)
    agreed = nodes[0].steps[-1].time_ms
    assert abs(agreed - network.now) < 1_000, "the median of a quorum is an honest clock"


# --- chaos ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11))
def test_whatever_happens_members_agree_and_go_on_once_it_is_over(seed: int) -> None:
    size, depth = (4, 5, 6, 7, 3, 2, 8)[seed % 7], (3, 20, 5)[seed % 3]
    chance = random.Random(seed)
    network = Network(size, rules=structs.replace(RULES, gc_depth=depth), seed=seed, delays=(1, chance.choice((10, 40, 80))))
    network.add_all()
    down: list[Node] = []
    wipes = committee_of(size).faulty_max
    for number in range(16):
        nodes = [network.nodes[member] for member in network.members]
        match chance.choice(("split", "heal", "crash", "restart", "wipe", "run")):
            case "split":
                chance.shuffle(nodes)
                cut = chance.randint(1, size)
                network.split(nodes[:cut], nodes[cut:])
            case "heal":
                network.heal()
            case "crash" if any(node.is_up for node in nodes):
                down.append(chance.choice([node for node in nodes if node.is_up]))
                network.crash(down[-1])
            case "restart" if down:
                network.restart(down.pop(chance.randrange(len(down))))
            case "wipe" if down and wipes:
                wipes -= 1
                network.restart(down.pop(), Disk())
            case _:
                pass
        for node in list(network.nodes.values()):
            if node.is_up:
                network.submit(node, f"{number} {node.name}".encode())
        network.run(chance.choice((50, 300, 1_000)))
        assert_agreement(network.nodes.values())
    network.heal()
    for node in down:
        network.restart(node)
    goes_on(network, [network.nodes[member] for member in network.members])
