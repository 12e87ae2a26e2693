"""A worker process as the event loop sees it: messages in, messages out, never a blocking call.

Workers start from a forkserver that has imported torch once: a forked child costs a few milliseconds and shares its memory,
where a fresh interpreter costs seconds and 250 MB (ADR 0005).
"""

import asyncio
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import forkserver as server
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Generic, TypeVar

from node.common.errors import NodeError

S = TypeVar("S")  # what the worker is told at its start
Q = TypeVar("Q")  # what it is asked
A = TypeVar("A")  # what it answers

STOP_SECONDS_MAX = 5.0
"""A worker looks at its pipe every few milliseconds; one that has not ended after this is killed."""

STDOUT, STDERR = 1, 2


def forkserver() -> ForkServerContext:
    """The context whose processes are forked from a server that has imported everything heavy."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["node.runtime.preload"])
    if server.get_inherited_fds() is not None and sys.version_info < (3, 14):
        # We were forked from such a server, and have its address and a hold on its life: our workers come from it, too.
        # CPython would launch another: it asks for a process id that only the launcher has, and has no public way to ask for
        # less (python/cpython#86354).
        server._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
    else:
        _launch()
    return context


def _launch() -> None:
    """Launch the server, if it does not run. It must not hear Ctrl-C: it would die of it in the middle of its imports.

    It imports from where we do: before Python 3.12.8 and 3.13.1 its preload looks where a fresh interpreter would, and in a
    second clone finds the installed one's modules (python/cpython#117378; its authors name this way around it).
    """
    resource_tracker.ensure_running()  # it lifts the block, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    try:
        server.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if others is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = others


def start_process(process: ForkServerProcess) -> None:
    """Fork the process off; blocks while the server still imports. Raises NodeError when there is no server any more."""
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise NodeError("the process that all others are forked from has ended; its reason is above", None) from error


def _run_worker(target: Callable[[Connection, S], None], pipe: Connection, spec: S, screen: Connection, group: int) -> None:
    """Of the server that peer and worker were forked from, the worker keeps neither the screen nor the process group."""
    try:
        os.setpgid(0, group)  # so that one signal reaches all of a peer
    except (ProcessLookupError, PermissionError):
        return  # there is no such group in our session any more: the peer has just ended
    for descriptor in (STDOUT, STDERR):
        os.dup2(screen.fileno(), descriptor)
    screen.close()
    target(pipe, spec)


class WorkerProcess(Generic[S, Q, A]):
    """Starts `target(pipe, spec)` in a process of its own; `on_answer` is called on the event loop."""

    def __init__(self, name: str, target: Callable[[Connection, S], None], spec: S, on_answer: Callable[[A], None]) -> None:
        context = forkserver()
        self.name = name
        self._pipe, worker_end = context.Pipe()
        screen = Connection(os.dup(STDERR), readable=False)
        arguments = (target, worker_end, spec, screen, os.getpgrp())
        self._process = context.Process(target=_run_worker, args=arguments, name=name, daemon=True)
        start_process(self._process)
        worker_end.close()
        screen.close()
        self._on_answer = on_answer
        self._requests: queue.SimpleQueue[Q | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._threads = [
            threading.Thread(target=self._send_all, name=f"{name}-send", daemon=True),
            threading.Thread(target=self._receive_all, name=f"{name}-receive", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, request: Q) -> None:
        """Queue a request; never blocks."""
        self._requests.put(request)

    async def exit_code(self) -> int:
        """Wait until the process is gone; its exit code."""
        await self._ended.wait()
        await asyncio.to_thread(self._process.join, STOP_SECONDS_MAX)
        return self._process.exitcode if self._process.exitcode is not None else -1

    async def stop(self) -> None:
        """Close the pipe, which ends the worker, and wait for it."""
        self._requests.put(None)
        await asyncio.to_thread(self._process.join, STOP_SECONDS_MAX)
        if self._process.is_alive():
            self._process.kill()
            await asyncio.to_thread(self._process.join)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._pipe.close()

    def _send_all(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._pipe.send(request)
            except OSError:  # the worker is gone; _receive_all sees it, too, and tells
                return
        self._process.terminate()

    def _receive_all(self) -> None:
        try:
            while True:
                self._call_soon(self._on_answer, self._pipe.recv())
        except (EOFError, OSError):
            self._call_soon(self._ended.set)

    def _call_soon(self, callback: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *arguments)
