"""Each peer is told whom to keep apart from; who cannot hear it is not."""

import asyncio
from multiprocessing import Pipe
from pathlib import Path

import msgspec

from node.lab.testnet.supervisor import RefusalDivider
from node.runtime.supervisor_pipe import KeepApart
from tests.node.lab.testnet.example_testnet import AliveProcess, made


def test_each_is_told_of_those_outside_of_its_group(tmp_path: Path) -> None:
    _, peers = made(tmp_path)
    ids = [bytes.fromhex(peer.peer_id) for peer in peers]
    pipes = [Pipe() for _ in peers]
    for peer, (above, _) in zip(peers, pipes, strict=True):
        peer.process, peer.lifeline = AliveProcess(), above
    peers[3].waker = object()
    asyncio.run(RefusalDivider(peers).divide(((0, 1), (2, 3))))
    asyncio.run(RefusalDivider(peers).divide(((0, 1, 2, 3),)))
    told = []
    for above, below in pipes:
        above.close()
        with below:
            orders = []
            while below.poll() and (data := received(below)) is not None:
                orders.append(msgspec.msgpack.decode(data, type=KeepApart).peers)
            told.append(orders)
    assert told == [[(ids[2], ids[3]), ()], [(ids[2], ids[3]), ()], [(ids[0], ids[1]), ()], []]


def received(pipe: object) -> bytes | None:
    try:
        return pipe.recv_bytes()
    except EOFError:
        return None
