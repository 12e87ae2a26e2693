"""The start of a peer's learner: its task must load, and must be the network's."""

import asyncio

from learning.task import Layout
from node.common.errors import NodeError, fix_of_task
from node.processes.learner import LearnerReady, LearnerWorker
from node.rules.network_rules import TaskSection

LEARNER_START_SECONDS_MAX = 120.0
"""Importing torch on a loaded machine takes seconds; a task's own data may take more. Longer means that it hangs."""

SAME_TASK = "use the same data and the same version of the task as the other peers"


async def loaded_task(
    learner: LearnerWorker, answer: asyncio.Future[LearnerReady], is_stopping: asyncio.Event, task: TaskSection
) -> Layout | None:
    """Wait for the task to load: its layout; None when the peer is told to stop before. Raises NodeError."""
    ended = asyncio.create_task(learner.exit_code())
    stopping = asyncio.create_task(is_stopping.wait())
    try:
        waiting = (ended, stopping, answer)
        await asyncio.wait(waiting, timeout=LEARNER_START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return _check_layout(answer.result(), task)
        if ended.done():
            message = f"the learner's process ended with exit code {ended.result()} while it loaded the task"
            raise NodeError(message, fix_of_task(task.name, None))
        if not stopping.done():
            message = f"the task {task.name!r} did not load within {LEARNER_START_SECONDS_MAX:.0f} s"
            raise NodeError(message, fix_of_task(task.name, None))
        return None
    finally:
        ended.cancel()
        stopping.cancel()


def _check_layout(ready: LearnerReady, task: TaskSection) -> Layout:
    """Refuse to run on other data than the network's."""
    parameters = sum(block.size for block in ready.layout)
    if parameters != task.parameters:
        message = f"task.parameters is {task.parameters} in the network file, but {task.name!r} has {parameters}"
        raise NodeError(message, SAME_TASK)
    if ready.data_digest.hex() != task.data_digest:
        raise NodeError(
            f"task.data_digest is {task.data_digest} in the network file, but {task.name!r} here has {ready.data_digest.hex()}",
            SAME_TASK,
        )
    return ready.layout
