"""Find a task by the name that the network file gives: a built-in one, or a user's own as "module:attribute"."""

import difflib
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from learning.models.rules import UNCHANGED, ModelRules
from learning.task import Task, TaskError
from learning.tasks.catalogue import BUILT_IN_TASKS, BuiltInTask, built_in_task


@runtime_checkable
class ModelTask(Protocol):
    """A task with a torch model, which the network's rules may change."""

    def with_model_rules(self, rules: ModelRules, folders: tuple[Path, ...]) -> Task:
        """The same task, with another start or other parts that learn. Raises TaskError."""
        ...


TASK_MEMBERS = ("name", "layout", "data_digest", "draw_batch", "scores", "fitness", "metrics")
"""Of `learning.task.Task`; the answers of these are checked by `learning.task_check`."""


def load_task(name: str, folder: Path | None = None, model: ModelRules = UNCHANGED, weights: tuple[Path, ...] = ()) -> Task:
    """The task called `name`. A user's module is looked for where Python looks, then in `folder` (else the current one).

    `model`: what the network's rules change about its model; `weights`: folders where their weights are looked for.

    Raises TaskError, for a user to read: unknown name, module or attribute not found, not a task, other data than expected.
    """
    task = _task_named(name, Path() if folder is None else folder)
    if not model.changes_model:
        return task
    if not isinstance(task, ModelTask):
        raise TaskError(
            f"task {name!r} is a {type(task).__name__}, whose model a network's rules cannot change",
            "leave --start-weights, --trainable and --adapter out, or make it a SupervisedTask",
        )
    return task.with_model_rules(model, weights)


def _task_named(name: str, folder: Path) -> Task:
    if is_own_task(name):
        return _own_task(name, folder)
    entry = built_in_task(name)
    if entry is None:
        raise _unknown_error(name, folder)
    return _built_in(entry)


def is_own_task(name: str) -> bool:
    """Whether the name is of a user's own module."""
    return ":" in name


def _unknown_error(name: str, folder: Path) -> TaskError:
    names = [task.name for task in BUILT_IN_TASKS]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    message = f'task {name!r} is not known{hint}; built in: {", ".join(names)}; your own: "module:attribute"'
    if (folder / f"{name}.py").is_file():
        return TaskError(message, f'for what {name}.py holds under the name task, write "{name}:task"')
    return TaskError(message, f"name {close[0]!r}, or another of these" if close else "name one of these")


def _built_in(entry: BuiltInTask) -> Task:
    module_name, _, attribute = entry.factory.partition(":")
    task: Task = getattr(importlib.import_module(module_name), attribute)()
    if entry.data_digest and task.data_digest.hex() != entry.data_digest:
        raise TaskError(
            f"task {entry.name!r}: data digest is {task.data_digest.hex()}, expected {entry.data_digest}; "
            "a library ships other data than the network was made with",
            "install the versions of constraints.txt",
        )
    return task


def _own_task(name: str, folder: Path) -> Task:
    module_name, _, attribute = name.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise TaskError(f'task {name!r}: expected "module:attribute"', 'write it like "my_task:task", for task in my_task.py')
    module = _import(name, module_name, folder)
    found = getattr(module, attribute, None)
    if found is None:
        raise TaskError(
            f"task {name!r}: module {module_name!r} ({module.__file__}) has no attribute {attribute!r}",
            "name a task of that module, or a function of it that makes one",
        )
    return _as_task(name, found, module)


def _import(name: str, module_name: str, folder: Path) -> ModuleType:
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)  # for good: the module may import its neighbours later
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            message = f"task {name!r}: no module {module_name!r}, neither installed nor in {place}"
            file = f"{module_name.replace('.', '/')}.py"
            raise TaskError(message, f"check the name, and go to the folder that holds {file}") from error
        raise TaskError(
            f"task {name!r}: {module_name!r} imports {error.name!r}, which is not installed",
            f"install what holds it, for this Python: {sys.executable} -m pip install ...",
        ) from error
    except Exception as error:
        raise TaskError(f"task {name!r}: importing {module_name!r} raised {type(error).__name__}: {error}") from error


def _as_task(name: str, found: object, module: ModuleType) -> Task:
    """The attribute itself where it is a task, else what it returns when called without arguments."""
    missing = _missing_members(found)
    if missing and callable(found):
        _check_maker(name, found, module)
        found = _call(name, found)
        missing = _missing_members(found)
    if missing:
        raise TaskError(f"task {name!r} is a {type(found).__name__}, not a task: it has no {', '.join(missing)}")
    task: Task = found  # type: ignore[assignment]  # its members are there; what they answer is checked by task_check
    return task


def _check_maker(name: str, found: object, module: ModuleType) -> None:
    """Only what was written to make a task is called: what a module merely imports (`abort` of os) does who knows what."""
    if not inspect.isfunction(found) and not inspect.isclass(found):
        kind = type(found).__name__
        raise TaskError(
            f"task {name!r} is a {kind}, which is not called; expected a task, or a function or a class that makes one",
            "name one of those",
        )
    if found.__module__ != module.__name__:
        where = f"{found.__module__}:{found.__qualname__}"
        raise TaskError(
            f"task {name!r} comes from another module", f"if it makes a task, name it where it is defined: {where!r}"
        )


def _call(name: str, found: object) -> object:
    assert callable(found)
    try:
        return found()
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"task {name!r}: making it raised {type(error).__name__}: {error}") from error


def _missing_members(found: object) -> list[str]:
    if isinstance(found, type):  # a class has the methods, but no answers yet
        return list(TASK_MEMBERS)
    return [member for member in TASK_MEMBERS if getattr(found, member, None) is None]
