"""The processes of one peer: start, stop, kill, pause and resume them. A peer and its workers are one process group."""

import asyncio
import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from node.common.errors import NodeError
from node.lab.faults.fault import PeerFaults
from node.lab.store_audit.log import LOG_NAME
from node.lab.testnet.namespaces import enter
from node.lab.testnet.peer import TestnetPeer
from node.processes.process import forkserver, start_process
from node.rules.settings import PeerSettings
from node.runtime.logs import configure_logging

STOP_SECONDS_MAX = 15.0
"""A peer closes its processes, sockets and database within a second or two; one that has not after this is killed."""

LOOK_SECONDS = 0.02
"""How often it is looked whether a process has ended: on the event loop, since two threads must not ask at once."""


async def warm_up() -> None:
    """Start the server that all peers are forked from: it imports torch first, which takes seconds. Raises NodeError."""
    await asyncio.to_thread(start_process, forkserver().Process(target=os.getpid, name="warm-up"))


def start(peer: TestnetPeer) -> None:
    """Start its process, which takes milliseconds once the server is warm. Raises NodeError."""
    assert not peer.is_running, "one process for each peer"
    context = forkserver()
    lifeline, theirs = context.Pipe()
    peer_faults = PeerFaults(peer.fault, peer.colluders) if peer.fault else None
    process = context.Process(target=_peer_process, args=(theirs, peer.settings, peer_faults, peer.namespace), name=peer.name)
    log = peer.settings.data_dir / LOG_NAME
    peer.log_from = log.stat().st_size if log.exists() else 0
    start_process(process)
    theirs.close()
    peer.process, peer.lifeline, peer.status, peer.silent_s = process, lifeline, None, 0.0
    peer.was_killed = False


def request_stop(peer: TestnetPeer) -> None:
    """Ask for a stop in good order; a paused peer is resumed for it."""
    _signal(peer, signal.SIGTERM)
    resume(peer)


async def stopped(peer: TestnetPeer) -> bool:
    """Wait until its process has ended as asked; False: it did not in time, and was killed."""
    if await _has_ended(peer, STOP_SECONDS_MAX):
        return True
    await kill(peer)
    return False


async def kill(peer: TestnetPeer) -> None:
    """SIGKILL to all its processes, and wait until they are gone."""
    request_kill(peer)
    await _has_ended(peer, None)


def request_kill(peer: TestnetPeer) -> None:
    """SIGKILL to all its processes."""
    _signal(peer, signal.SIGKILL)


def pause(peer: TestnetPeer) -> None:
    """SIGSTOP to all its processes; SIGCONT when the supervisor ends, or they would stay for ever. Raises NodeError."""
    assert peer.is_running, "a process to pause"
    assert peer.process is not None
    context = forkserver()
    peer.waker, theirs = context.Pipe()
    start_process(context.Process(target=_wake_later, args=(theirs, peer.process.pid), name=f"{peer.name}-waker", daemon=True))
    theirs.close()
    _signal(peer, signal.SIGSTOP)


def resume(peer: TestnetPeer) -> None:
    """SIGCONT to all its processes."""
    _signal(peer, signal.SIGCONT)
    if peer.waker is not None:
        peer.waker.send_bytes(b"resumed")
        peer.waker.close()
        peer.waker = None


async def _has_ended(peer: TestnetPeer, seconds: float | None) -> bool:
    """Whether its process ends in this time; its pipe is closed then."""
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    while peer.is_running:
        if deadline is not None and asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    if peer.lifeline is not None:
        peer.lifeline.close()
    resume(peer)  # its waker has nothing to wake any more
    return True


def _signal(peer: TestnetPeer, number: signal.Signals) -> None:
    """To the process group; to the process alone where it is so young that it has no group of its own yet."""
    process = peer.process
    if process is None or process.pid is None or not process.is_alive():
        return
    send = os.killpg if _leads_a_group(process) else os.kill
    try:
        send(process.pid, number)
    except ProcessLookupError:
        return  # it ended in this moment


def _leads_a_group(process: ForkServerProcess) -> bool:
    assert process.pid is not None
    try:
        return os.getpgid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _wake_later(pipe: Connection, group: int) -> None:
    """The whole life of a waker: until it is told that the group was resumed, or the supervisor has ended without that."""
    os.setpgid(0, 0)  # it outlives Ctrl-C
    try:
        pipe.recv_bytes()
    except (EOFError, ConnectionError):
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            os.killpg(group, signal.SIGCONT)


def _peer_process(lifeline: Connection, settings: PeerSettings, peer_faults: PeerFaults | None, namespace: Path | None) -> None:
    """The whole life of a testnet's peer, in its own process; ends when the supervisor does, however that ends.

    In a network namespace all its sockets are made within, but for its API's, which the supervisor has to reach.
    """
    from node.api.server import bound_listener  # noqa: PLC0415 - the supervisor itself needs none of it
    from node.runtime.assembly import run_peer  # noqa: PLC0415

    os.setpgid(0, 0)  # a terminal's Ctrl-C is the supervisor's alone: it tells us in good order
    log = os.open(settings.data_dir / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    configure_logging(settings.log_level)
    try:
        api_listener = None if namespace is None else bound_listener()
        if namespace is not None:
            enter(namespace)
        if peer_faults is not None:
            from node.lab.faults.faulty_peer import run_faulty_peer  # noqa: PLC0415 - of no use to honest peers

            sys.exit(run_faulty_peer(settings, peer_faults, lifeline, api_listener))
        sys.exit(run_peer(settings, lifeline, api_listener))
    except NodeError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - the log is this process's only screen
        sys.exit(error.exit_code)
