"""Strangers who say other peers' Hellos, their own victim's first of all, and hold no key to prove them."""

import logging
from dataclasses import dataclass, field

from consensus.types import KEY_BYTES, SIGNATURE_BYTES
from node.common.address import Address
from node.lab.faults.network.connection_attack import Visit
from node.lab.faults.network.doors import Doors, door, name_doors
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, stranger_at
from node.net.handshake import public_nonce
from node.net.wire import PROTOCOL_VERSION, Hello, Proof, encode_frame

log = logging.getLogger(__name__)

FALSE_PROOF = Proof(bytes(SIGNATURE_BYTES))


@dataclass
class _Names:
    """Keys that were heard at doors, in the order in which they were met."""

    met: dict[bytes, None] = field(default_factory=dict)


def borrowing_names(situation: NetworkSituation) -> Visit:
    """Knocks everywhere under the name of somebody met before, a member or the target itself; then, by a name of its own, tells
    where it listens, and answers each dial with the dialler's own Hello.

    Who believes a Hello takes a stranger for a member, or another's address for its own. Source: reflection (Bird, Gopal,
    Herzberg, Janson, Kutten, Molva, Yung, "Systematic Design of Two-Party Authentication Protocols", CRYPTO 1991).
    """
    names, doors = _Names(), Doors()

    async def visit(target: Address) -> None:
        for place in (*situation.targets(), target):
            async with stranger_at(place, situation) as impostor:
                await _borrow(impostor, names)
        async with stranger_at(target, situation) as stranger, door(stranger, doors, _mirror) as port:
            if await stranger.shake_hands(listening_port=port):
                await name_doors(stranger, doors)

    return visit


async def _borrow(impostor: UnauthenticatedClient, names: _Names) -> None:
    """Introduce ourselves as one of those met. Raises ChannelClosedError, FrameError."""
    random = impostor.situation.random
    name = random.choice(tuple(names.met)) if names.met else random.randbytes(KEY_BYTES)
    nonce = public_nonce(random.randbytes(KEY_BYTES))
    hello = Hello(PROTOCOL_VERSION, impostor.situation.network_id, name, nonce, 0, "stranger")
    await impostor.channel.send(encode_frame(hello))
    answer = await impostor.channel.receive()
    if isinstance(answer, Hello):
        names.met[answer.key] = None
    await impostor.channel.send(encode_frame(FALSE_PROOF))
    log.debug("said to be %s", name.hex()[:8])
    await impostor.wait_for_the_end()


async def _mirror(stranger: UnauthenticatedClient) -> None:
    """Whoever dials hears its own Hello, and a proof that is none. Raises ChannelClosedError, FrameError."""
    hello = await stranger.channel.receive()
    if isinstance(hello, Hello):
        await stranger.channel.send(encode_frame(hello))
        await stranger.channel.send(encode_frame(FALSE_PROOF))
        log.debug("answered with the dialler's own hello")
    await stranger.wait_for_the_end()
