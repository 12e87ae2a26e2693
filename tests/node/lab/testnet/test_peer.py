"""What is known of a peer, in each state of its processes."""

from pathlib import Path

import msgspec
import pytest

from node.api.status import PeerLink
from node.common.address import Address
from node.lab.store_audit.log import LOG_NAME
from node.lab.testnet.peer import SILENT_SECONDS, PeerState, TestnetPeer, last_error
from node.lab.testnet.views import conduct_text, links
from tests.node.lab.testnet.example_testnet import AliveProcess, EndedProcess, chain, made


@pytest.fixture
def peer(tmp_path: Path) -> TestnetPeer:
    return made(tmp_path)[1][0]


def test_every_state_is_told_apart(peer: TestnetPeer) -> None:
    states = [peer.state]
    peer.process = AliveProcess()
    states.append(peer.state)
    peer.status = chain(peer, 1)
    states.append(peer.state)
    peer.silent_s = SILENT_SECONDS
    states.append(peer.state)
    peer.waker = object()
    states.append(peer.state)
    for exit_code in (-9, 1):
        peer.process = EndedProcess(exit_code)
        states.append(peer.state)
    assert states == [
        PeerState.ABSENT,
        PeerState.STARTING,
        PeerState.RUNNING,
        PeerState.SILENT,
        PeerState.PAUSED,
        PeerState.KILLED,
        PeerState.STOPPED,
    ]


def test_the_reason_of_an_end_is_of_the_last_life_alone(peer: TestnetPeer) -> None:
    log = peer.settings.data_dir / LOG_NAME
    log.write_text("error: the disk is full\n")
    peer.process = EndedProcess(2)
    assert last_error(peer) == "the disk is full"
    peer.log_from = log.stat().st_size
    assert last_error(peer) == f"ended with exit code 2 ({log} may say why)"
    peer.process = EndedProcess(-9)
    assert last_error(peer) == "killed by signal 9"
    peer.process = AliveProcess()
    assert last_error(peer) is None


def test_conduct_and_group_are_told_in_words(tmp_path: Path) -> None:
    _, peers = made(tmp_path, faulty=1, fault="mute")
    liar, honest = peers[3], peers[0]
    liar.group = 1
    honest.was_faulty = True
    assert [conduct_text(peer) for peer in (liar, honest, peers[1])] == ["faulty: mute, in group 1", "was faulty", None]
    assert [peer.is_honest for peer in peers] == [False, True, True, False]
    assert honest.address == Address("127.0.0.1", honest.settings.listen_port)


def test_the_starting_are_not_silent_however_long_it_takes(peer: TestnetPeer) -> None:
    peer.process, peer.silent_s = AliveProcess(), 10 * SILENT_SECONDS
    assert (peer.state, peer.has_say) == (PeerState.STARTING, True)


def test_the_dead_have_no_links(peer: TestnetPeer) -> None:
    peer.process = AliveProcess()
    peer.status = msgspec.structs.replace(chain(peer, 1), peers=(PeerLink("1" * 64, "127.0.0.1:1"),) * 2)
    assert links(peer) == 2
    peer.process = EndedProcess(-9)
    assert links(peer) == 0
