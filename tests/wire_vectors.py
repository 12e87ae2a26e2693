"""Frames and stored rows of all modes, as one version of this project wrote them: later ones read them.

python -m tests.wire_vectors    writes tests/vectors/wire.bin anew: after a change of the wire or the store that is meant
"""

import zlib
from collections import defaultdict
from pathlib import Path

import msgspec

from consensus.effects import Broadcast, Send
from consensus.encoding import Codec
from consensus.proof_of_work.messages import MESSAGE_CODEC as WORK_CODEC
from consensus.total_order.messages import MESSAGE_CODEC as ORDER_CODEC
from consensus.types import Instant, PeerId
from learning.gradient.rules import GradientRules
from node.lab.scenarios.events import Crash, Restart
from node.lab.scenarios.scenario import ExpectSection, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.run import Simulation
from node.lab.simulation.trace import Happening, Trace
from node.rules.network_rules import Consensus, Learning

FILE = Path(__file__).parent / "vectors" / "wire.bin"

MODES = tuple((consensus, learning) for consensus in Consensus for learning in Learning)

VIRTUAL_S = {Consensus.PROOF_OF_WORK: 30, Consensus.TOTAL_ORDER: 6}
"""So long each mode runs."""

FRAMES_PER_KIND = 3
"""The smallest, the median and the largest of each message."""


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    """Of one mode."""

    frames: tuple[bytes, ...]
    rows: tuple[tuple[str, bytes, bytes], ...]
    """(table, key, value) of one peer's disk at the end."""
    guard_round: int
    head: bytes
    """What that peer's learner had adopted."""


def scenario_of(consensus: Consensus, learning: Learning) -> Scenario:
    """Four honest peers on a toy task; one is away for a while, and catches up."""
    seconds = VIRTUAL_S[consensus]
    return Scenario(
        name="vectors",
        consensus=consensus,
        learning=learning,
        peers=4,
        duration_s=seconds,
        gradient=GradientRules(minibatch_size=4, workers_window=16, shards="whole"),
        snapshot_behind=0 if consensus is Consensus.PROOF_OF_WORK else 64,
        events=(
            TimedEvent(seconds // 4, Crash((3,))),
            TimedEvent(seconds // 2, Restart((3,))),
        ),
        expect=ExpectSection(calm_s=seconds // 2 - 1, behind_max=100),
        task=ToyTask.QUADRATIC,
    )


def codec_of(consensus: Consensus) -> Codec:  # type: ignore[type-arg]
    """Of the order's messages."""
    return WORK_CODEC if consensus is Consensus.PROOF_OF_WORK else ORDER_CODEC


def recorded(consensus: Consensus, learning: Learning) -> Vectors:
    """What the present tree sends and stores."""
    frames: set[bytes] = set()
    add = Trace.add

    def noting(self: Trace, now: Instant, peer: PeerId, happening: Happening) -> None:
        if isinstance(happening, Send | Broadcast):
            frames.add(happening.message)
        add(self, now, peer, happening)

    Trace.add = noting  # type: ignore[method-assign]
    try:
        simulation = Simulation(scenario_of(consensus, learning), seed=1)
        simulation.run()
    finally:
        Trace.add = add  # type: ignore[method-assign]
    assert isinstance(simulation.network, SimulatedNetwork)
    peer = next(iter(simulation.network.peers.values()))
    assert peer.head is not None
    rows = tuple(sorted((table, key, value) for (table, key), value in peer.records.items()))
    return Vectors(_chosen(frames, codec_of(consensus)), rows, peer.guard_round, peer.head.step)


def read_vectors() -> dict[str, Vectors]:
    """What the file holds, by mode."""
    return msgspec.msgpack.decode(zlib.decompress(FILE.read_bytes()), type=dict[str, Vectors])


def name_of(consensus: Consensus, learning: Learning) -> str:
    """A mode, in the file."""
    return f"{consensus}/{learning}"


def _chosen(frames: set[bytes], codec: Codec) -> tuple[bytes, ...]:  # type: ignore[type-arg]
    by_kind: dict[str, list[bytes]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: (len(frame), frame)):
        by_kind[type(codec.decode(frame)).__name__].append(frame)
    places = [[0, len(kind) // 2, len(kind) - 1] for kind in by_kind.values()]
    return tuple(kind[at] for kind, where in zip(by_kind.values(), places, strict=True) for at in dict.fromkeys(where))


def main() -> None:
    """Write the file."""
    vectors = {name_of(*mode): recorded(*mode) for mode in MODES}
    FILE.write_bytes(zlib.compress(msgspec.msgpack.encode(vectors), 9))


if __name__ == "__main__":
    main()
