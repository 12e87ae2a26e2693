"""Folders like those of real peers, with what the peers of a simulation have recorded: real databases, redo logs and logs."""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from consensus.encoding import Signer
from consensus.types import Instant, NetworkId, PeerId
from node.common.files import STORE_FILE_NAME
from node.lab.scenarios.scenario import parse_scenario
from node.lab.scenarios.toy_tasks import ToyTask, toy_task
from node.lab.simulation.population import START
from node.lab.simulation.run import Simulation
from node.lab.store_audit.autopsy import Autopsy
from node.lab.store_audit.log import LOG_NAME
from node.rules.network_rules import NetworkRules
from node.storage.redo_log import REDO_LOG_NAME, RedoLog
from node.storage.store import Store, checksum
from node.storage.tables import Row

SEED = 5

ORDER = """
name = "order"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 8
[expect]
calm_s = 2
heights_min = 0
"""

WORK = """
name = "work"
consensus = "proof-of-work"
learning = "evolution"
peers = 6
duration_s = 60
[proof_of_work]
start_attempts = 1
puzzle_memory_kib = 8
finality_depth = 4
contest_depth = 2
[expect]
calm_s = 1
heights_min = 0
[[event]]
at_s = 0
kind = "crash"
peers = [2, 3, 4, 5]
"""
"""Puzzles are sampled, and the pace is that of six peers: with two of them blocks come late, so that any nonce will do."""


@dataclass
class Folders:
    """The folders of one network under `root`, peer by peer."""

    root: Path
    rules: NetworkRules
    network_id: NetworkId
    signers: tuple[Signer, ...]
    ids: tuple[PeerId, ...]
    _known: dict[PeerId, dict[tuple[str, bytes], bytes]] = field(default_factory=dict)

    def path(self, number: int) -> Path:
        """A peer's folder."""
        return self.root / f"peer-{number}"

    def autopsy(self, faulty: tuple[int, ...] = (), *, is_followed: bool = False) -> Autopsy:
        """That has read nothing yet."""
        placed = [(peer, self.path(number)) for number, peer in enumerate(self.ids)]
        guilty = {self.ids[number] for number in faulty}
        return Autopsy(self.rules, placed, guilty, START, is_followed=is_followed, task=toy_task(ToyTask.QUADRATIC))

    def finding(self, faulty: tuple[int, ...] = ()) -> tuple[str, str] | None:
        """What a reading of all folders finds: the checker and what it says."""
        autopsy = self.autopsy(faulty)
        autopsy.read_to_the_end(Instant(START))
        found = autopsy.checkers.finding
        return None if found is None else (found.checker, found.detail)

    def rows(self, number: int, table: str) -> dict[bytes, bytes]:
        """What a peer has recorded in one table, by key, in order."""
        query = "SELECT key, value FROM records WHERE kind = ? ORDER BY key"
        with closing(sqlite3.connect(self.path(number) / STORE_FILE_NAME)) as connection:
            return dict(connection.execute(query, (table,)))

    def write(self, number: int, *rows: Row) -> None:
        """Add, change or remove rows, as the peer itself would."""
        asyncio.run(self._written(number, rows))

    def damage(self, number: int, table: str, key: bytes, value: bytes) -> None:
        """Another value under an old checksum, as a disk does it."""
        with closing(sqlite3.connect(self.path(number) / STORE_FILE_NAME)) as connection, connection:
            connection.execute("UPDATE records SET value = ? WHERE kind = ? AND key = ?", (value, table, key))

    def guard(self, number: int, round_number: int) -> None:
        """What the redo log holds of rounds."""
        log = RedoLog(self.path(number) / REDO_LOG_NAME)
        log.begin("", 0, round_number)
        log.close()

    def log(self, number: int, line: str) -> None:
        """A further line of the log."""
        with (self.path(number) / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(f"2027-01-15 08:00:00,000 {line}\n")

    def take_over(self, simulation: Simulation, numbers: Iterable[int]) -> None:
        """Make the folders of these peers what their simulated disks are now."""
        for number in numbers:
            peer = simulation.network.peers[self.ids[number]]
            before, after = self._known.get(peer.id, {}), dict(peer.records)
            gone = [(table, key, None) for table, key in sorted(before.keys() - after.keys())]
            new = [(table, key, value) for (table, key), value in after.items() if before.get((table, key)) != value]
            self.path(number).mkdir(exist_ok=True)
            self.write(number, *gone, *new)
            if peer.guard_round:
                self.guard(number, peer.guard_round)
            self._known[peer.id] = after

    async def _written(self, number: int, rows: Iterable[Row]) -> None:
        store = Store.open(self.path(number) / STORE_FILE_NAME)
        await store.write(tuple(rows))
        store.close()


def simulation_of(text: str) -> Simulation:
    """Not run yet."""
    return Simulation(parse_scenario(text), SEED)


def folders_of(simulation: Simulation, root: Path) -> Folders:
    """Without anything in them."""
    population = simulation.population
    signers = tuple(population.sign_as(peer) for peer in population.ids)
    return Folders(root, population.rules, population.network_id, signers, population.ids)


def filled(text: str, root: Path) -> Folders:
    """After the whole scenario."""
    simulation = simulation_of(text)
    simulation.run()
    folders = folders_of(simulation, root)
    folders.take_over(simulation, range(len(folders.ids)))
    return folders


__all__ = ["ORDER", "WORK", "Folders", "checksum", "filled", "folders_of", "simulation_of"]
