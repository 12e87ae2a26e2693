"""What the network file says of a task: found without importing torch, or a user's code, into our own process."""

import subprocess
import sys
from pathlib import Path

import msgspec

from learning.models.rules import UNCHANGED, ModelRules
from learning.tasks.catalogue import built_in_task, missing_library
from node.common.errors import NodeError, fix_of_task
from node.common.wording import with_our_code
from node.rules.network_rules import TaskSection

STILL_PROBING_SECONDS = 30.0
"""How often it is told that a task is not tried yet. How long its data take to load only its owner knows."""


IDLE_SHOWN = 5
"""Tensors that nothing depends on."""


class ProbeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What node/processes/task_probe.py is asked."""

    task: str
    model: ModelRules
    weights: str
    """The folder of the file that the model starts from."""
    needs_gradient: bool
    """Whether the network learns by gradients: else none is asked for."""


class TaskAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What node/processes/task_probe.py prints: facts, or why there are none."""

    parameters: int = 0
    data_digest: str = ""
    has_gradient: bool = False
    idle: tuple[str, ...] = ()
    """Tensors that nothing depends on."""
    error: str | None = None
    fix: str | None = None


def check_installed(name: str) -> None:
    """Raises NodeError where a task needs a library that is not here: before a process is started that would find out."""
    if missing := missing_library(name):
        raise NodeError(*missing)


def task_section(
    name: str,
    model: ModelRules = UNCHANGED,
    weights: Path | None = None,
    *,
    needs_gradient: bool = False,
    needs_samples: bool = False,
) -> TaskSection:
    """The [task] section for a built-in task or "module:attribute" (looked up from the current folder, too).

    `model`: what is changed about its model; `weights`: the folder of the file that it starts from.

    Raises NodeError when there is no such task, when its code fails, when it has no gradient but needs one, or no training
    samples where peers are to have shards of them.
    """
    check_installed(name)
    known = built_in_task(name)
    if known is not None and known.data_digest and not model.changes_model:
        answer = TaskAnswer(known.parameters, known.data_digest, known.has_gradient)
    else:  # of files that the user has, the digest is known once they are read
        answer = _probe(ProbeRequest(name, model, str(weights or Path()), needs_gradient))
    if needs_gradient and not answer.has_gradient:
        raise NodeError(f"task {name!r} has no gradient", "learn by evolution, or choose another task")
    if needs_samples and not answer.has_gradient:  # who has training samples has a gradient on them
        raise NodeError(f"task {name!r} has no training samples that shards could be cut from", "leave --shards out")
    _tell_idle(name, answer.idle)
    return TaskSection(name, answer.data_digest, answer.parameters)


def _tell_idle(name: str, tensors: tuple[str, ...]) -> None:
    """A hint on standard error: a few samples do not prove it."""
    if tensors:
        more = f" and {len(tensors) - IDLE_SHOWN} more" if len(tensors) > IDLE_SHOWN else ""
        shown = ", ".join(tensors[:IDLE_SHOWN])
        sys.stderr.write(f"note: task {name!r}: no score depends on {shown}{more}; freeze them, or look why\n")


def _patiently_read(child: subprocess.Popen[bytes], name: str) -> bytes:
    """All that the child prints until it ends, and a line for people now and then."""
    passed_s = 0.0
    while True:
        try:
            return child.communicate(timeout=STILL_PROBING_SECONDS)[0]
        except subprocess.TimeoutExpired:
            passed_s += STILL_PROBING_SECONDS
            still = f"task {name} is not loaded, or its first model not measured, after {passed_s:.0f} s; Ctrl-C gives it up"
            sys.stderr.write(f"{still}\n")
        except BaseException:
            child.kill()
            raise


def _probe(request: ProbeRequest) -> TaskAnswer:
    """Ask node/processes/task_probe.py in a child process; its standard error is shown to the user as it comes."""
    name, text = request.task, msgspec.json.encode(request).decode()
    command = [sys.executable, "-P", "-m", "node.processes.task_probe", text]  # -P: a user's own node.py here is not ours
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=with_our_code()) as child:
        output = _patiently_read(child, name)
    lines = output.splitlines()  # the task's own code may print, too; our answer is the last line
    try:
        answer = msgspec.json.decode(lines[-1] if lines else b"", type=TaskAnswer)
    except msgspec.DecodeError as error:
        raise NodeError(
            f"task {name!r} ended its process with exit code {child.returncode}", fix_of_task(name, None)
        ) from error
    if answer.error is not None:
        raise NodeError(answer.error, answer.fix)
    return answer
