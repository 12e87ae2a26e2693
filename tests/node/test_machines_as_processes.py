"""Five machines, each with an address of its own: they find each other, part, meet again, and keep places for members.

Each is a network namespace, as root on Linux: a partition makes packets vanish, and no endpoint is told.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from node.common.files import NETWORK_FILE_NAME
from node.lab.scenarios.scenario import parse_scenario
from node.lab.scenarios.scenario_rules import scenario_rules
from node.lab.testnet import process
from node.lab.testnet.namespaces import Namespaces, reason_against
from node.lab.testnet.peer import TestnetPeer, last_error
from node.lab.testnet.scenario_run import move_in
from node.lab.testnet.setup import make_peers
from node.net.network_interface import NetSettings
from node.rules.network_rules import NetworkRules
from tests.node.lab.testnet.example_testnet import SETTINGS
from tests.node.real_peers import ROOT, Watched

MACHINES = 5
MEMBERS = 4
"""The fifth is an observer's, or an attacker's."""

WHY_NOT = reason_against(MACHINES)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(290),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no network namespaces here: {WHY_NOT}"),
]

RECONNECT_SECONDS_MAX = 15.0

OUTSIDERS = 80
"""At each member: more than it has inbound places."""

DOWN_SECONDS = 8.0
"""So long two members are away: the others have dialled them in vain, and wait as long as they ever do before the next time
(`Backoff`: after 1, 2 and 4 s at the most)."""

SCRIPT = """
name = "machines"
consensus = "total-order"
learning = "evolution"
peers = 5
duration_s = 60
[total_order]
round_interval_ms = 100
"""

ATTACK = """
import asyncio, random, sys
from pathlib import Path
from node.lab.faults.network.attacks import VISITS
from node.lab.faults.network.unauthenticated_client import raid
from node.lab.faults.network.situation import NetworkSituation
from node.net.address_book import Address
from node.rules.network_file import read_network_file
from node.rules.network_rules import network_id, rule_fields

rules = read_network_file(Path(sys.argv[1]))
sources = tuple(sys.argv[2].split(","))
targets = tuple(Address(host, 7600) for host in sys.argv[3].split(","))

async def main():
    async with asyncio.TaskGroup() as group:
        for target in targets:
            there = NetworkSituation(
                network_id(rules),
                rule_fields(rules),
                lambda target=target: (target,),
                random.Random(target.host),
                sources=sources,
            )
            group.create_task(raid(VISITS["crowd"](there), there, outsiders=int(sys.argv[4]), pause_seconds=0.5)())

asyncio.run(main())
"""
"""One machine's idle outsiders, from all of its addresses, at every member's door; who is thrown out comes again."""


@dataclass
class Machines:
    """Peers in namespaces; the first address alone is given to the others."""

    root: Path
    peers: list[TestnetPeer]
    namespaces: Namespaces

    def status(self, number: int) -> dict | None:
        """What a peer says of itself; None while it does not answer."""
        return Watched(self.peers[number].settings.data_dir).status()

    def members_of(self, number: int) -> set[int]:
        """To whom of the members it has a connection."""
        document = self.status(number)
        linked = set() if document is None else {link["peer_id"] for link in document["peers"]}
        return {other for other in range(MEMBERS) if self.peers[other].peer_id in linked}

    def height(self, number: int) -> int:
        document = self.status(number)
        return -1 if document is None or document["height"] is None else document["height"]

    async def until(self, holds: Callable[[], object], seconds: float, what: str) -> float:
        """How long it took."""
        begun = time.monotonic()
        while not await asyncio.to_thread(holds):
            for peer in self.peers:
                assert peer.process is None or peer.process.is_alive() or peer.was_killed, last_error(peer)
            assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}; {self.picture()}"
            await asyncio.sleep(0.1)
        return time.monotonic() - begun

    def all_meet(self, numbers: Sequence[int] = range(MEMBERS)) -> bool:
        """Whether all these members are connected with each other."""
        return all(self.members_of(number) >= set(numbers) - {number} for number in numbers)

    def picture(self) -> str:
        return "; ".join(f"{number}: height {self.height(number)}, {self.members_of(number)}" for number in range(MACHINES))


def rules_among(members: int, keys: tuple[str, ...]) -> NetworkRules:
    return scenario_rules(parse_scenario(SCRIPT), None, keys[:members], puzzle_share=0.1)


@asynccontextmanager
async def machines(root: Path) -> AsyncIterator[Machines]:
    """Four members on as many machines, and a fifth; nobody runs yet."""
    settings = replace(SETTINGS, nodes=MACHINES, puzzle_share=0.1)
    _, peers = make_peers(settings, root, partial(rules_among, MEMBERS))
    with Namespaces(MACHINES) as namespaces:
        move_in(peers, namespaces)
        made = Machines(root, peers, namespaces)
        await process.warm_up()
        try:
            yield made
        finally:
            for peer in peers:
                await process.kill(peer)


@contextmanager
def crowd(made: Machines) -> Iterator[None]:
    """The fifth machine, with eight addresses, takes all the places that it can get."""
    path = made.namespaces.path(MACHINES - 1)
    own = made.namespaces.address(MACHINES - 1).host
    subnet = own.rpartition(".")[0]
    sources = [own, *(f"{subnet}.{number}" for number in range(101, 108))]
    for source in sources[1:]:
        subprocess.run(["ip", "-n", path.name, "addr", "add", f"{source}/24", "dev", "peer"], check=True)
    targets = [made.namespaces.address(number).host for number in range(MEMBERS)]
    command = ["ip", "netns", "exec", path.name, sys.executable, "-c", ATTACK, str(made.root / NETWORK_FILE_NAME)]
    with (made.root / "attack.log").open("w") as log:
        attack = subprocess.Popen(
            [*command, ",".join(sources), ",".join(targets), str(OUTSIDERS)], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        yield
        assert attack.poll() is None, (made.root / "attack.log").read_text()
    finally:
        attack.kill()
        attack.wait()


def is_full(made: Machines, number: int) -> bool:
    """Whether every inbound place there is taken."""
    document = made.status(number)
    inbound = [] if document is None else [link for link in document["peers"] if not link["is_outgoing"]]
    return len(inbound) >= NetSettings().inbound_max


def test_machines_find_each_other_by_one_address_part_and_meet_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with machines(tmp_path / "net") as made:
            for peer in made.peers:
                process.start(peer)
            await made.until(made.all_meet, 100.0, "all members find each other")
            await made.until(lambda: made.members_of(4) and made.height(4) >= 1, 60.0, "the observer follows")
            await made.namespaces.divide(((0, 1), (2, 3, 4)))
            await made.until(
                lambda: not made.members_of(0) & {2, 3} and not made.members_of(3) & {0, 1}, 60.0, "each side notices"
            )
            stuck = made.height(0)
            await asyncio.sleep(2.0)
            assert made.height(0) == stuck, "neither side has a quorum"
            assert {1} <= made.members_of(0)
            assert {2} <= made.members_of(3)
            await made.namespaces.divide((tuple(range(MACHINES)),))
            took = await made.until(made.all_meet, 2 * RECONNECT_SECONDS_MAX, "all members meet again")
            await made.until(lambda: min(map(made.height, range(MACHINES))) > stuck, 60.0, "all go on")
            print(f"met again after {took:.1f} s")  # noqa: T201

    asyncio.run(scenario())


async def reconnect_among_outsiders(root: Path, seconds_max: float) -> float:
    """How long two members take that were away while idle outsiders of one machine took every place. Raises AssertionError."""
    async with machines(root) as made:
        for peer in made.peers[:MEMBERS]:
            process.start(peer)
        await made.until(made.all_meet, 100.0, "all members find each other")
        with crowd(made):
            await made.until(lambda: all(is_full(made, number) for number in range(MEMBERS)), 100.0, "every place is taken")
            for number in (2, 3):
                made.peers[number].was_killed = True
                await process.kill(made.peers[number])
            await asyncio.sleep(DOWN_SECONDS)
            await made.until(lambda: is_full(made, 0) and is_full(made, 1), 60.0, "their places too")
            stuck = made.height(0)
            for number in (2, 3):
                process.start(made.peers[number])
            await made.until(lambda: all(made.status(number) for number in (2, 3)), 60.0, "both run again")
            took = await made.until(made.all_meet, seconds_max, "members reconnect")
            await made.until(lambda: made.height(0) > stuck and made.height(3) > stuck, 60.0, "they go on")
            await made.until(
                lambda: all(is_full(made, number) for number in range(MEMBERS)), 60.0, "outsiders take what is left"
            )
        return took


def test_members_reconnect_though_idle_outsiders_of_one_machine_take_every_place(tmp_path: Path) -> None:
    took = asyncio.run(reconnect_among_outsiders(tmp_path / "net", RECONNECT_SECONDS_MAX))
    print(f"reconnected after {took:.1f} s")  # noqa: T201
