"""A task is found by its name, and what is wrong with a name or a module is said in one line."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from learning.task import TaskError
from learning.task_check import check_task
from learning.tasks import loading
from learning.tasks.catalogue import BUILT_IN_TASKS, BuiltInTask, built_in_task
from learning.tasks.loading import load_task

BUILT_IN = "digits, digits-large, digits-mlp, digits-cnn, emnist, emnist-letters, emnist-digits, cifar100, rosenbrock, cartpole"

OWN_TASKS = """
import numpy as np
from learning.task import ParameterBlock
from learning.tasks.black_box import BlackBoxTask

def value(points):
    return (points * points).sum(axis=1)

ready = BlackBoxTask("ready", 3, value)
number = 5

def made():
    return BlackBoxTask("made", 4, value)

def broken():
    raise ValueError("no data here")

class Half:
    name = "half"
    layout = (ParameterBlock("w", (2,), 1),)
    data_digest = bytes(32)
    def draw_batch(self, seed):
        return np.zeros(1, dtype=np.int64)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_tasks_for_test.py").write_text(OWN_TASKS)
    (tmp_path / "borrows_for_test.py").write_text("from os import abort, getcwd\nfrom shutil import disk_usage\nhome = str()")
    (tmp_path / "needs_more_for_test.py").write_text("import a_library_nobody_has")
    (tmp_path / "fails_for_test.py").write_text("1 / 0")
    monkeypatch.delitem(sys.modules, "own_tasks_for_test", raising=False)
    return tmp_path


@pytest.mark.parametrize("entry", [entry for entry in BUILT_IN_TASKS if entry.data_digest], ids=lambda entry: entry.name)
def test_every_built_in_task_with_its_own_data_is_what_the_catalogue_says(entry: BuiltInTask) -> None:
    if entry.name == "cartpole":
        pytest.importorskip("gymnasium")
    task = load_task(entry.name)
    check_task(task)
    found = (task.name, sum(block.size for block in task.layout), task.data_digest.hex())
    assert found == (entry.name, entry.parameters, entry.data_digest)


def test_the_catalogue_is_read_without_the_heavy_libraries() -> None:
    code = (
        "import sys, learning.tasks.catalogue, learning.tasks.loading\n"
        "print([name for name in ('torch', 'gymnasium') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_other_data_than_the_catalogue_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = built_in_task("rosenbrock")
    assert entry is not None
    other = replace(entry, data_digest="00" * 32)
    monkeypatch.setattr(loading, "built_in_task", lambda name: other)
    with pytest.raises(
        TaskError, match=f"data digest is {entry.data_digest}, expected {'00' * 32}; a library ships other data"
    ):
        load_task("rosenbrock")


def test_a_missing_gymnasium_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "learning.tasks.cartpole", raising=False)
    with pytest.raises(TaskError) as raised:
        load_task("cartpole")
    assert str(raised.value) == "task 'cartpole' needs gymnasium, which is not installed"
    assert raised.value.fix == f'{sys.executable} -m pip install -c constraints.txt -e ".[rl]"'


@pytest.mark.parametrize(("attribute", "name"), [("ready", "ready"), ("made", "made")])
def test_a_task_of_ones_own_is_an_attribute_or_what_it_returns(folder: Path, attribute: str, name: str) -> None:
    task = load_task(f"own_tasks_for_test:{attribute}", folder)
    assert task.name == name
    check_task(task)


def test_without_a_folder_the_current_one_is_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_task("own_tasks_for_test:ready").name == "ready"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "digit",
            f"task 'digit' is not known (did you mean 'digits'?); built in: {BUILT_IN}; your own: \"module:attribute\"",
        ),
        (
            "xyz",
            f"task 'xyz' is not known; built in: {BUILT_IN}; your own: \"module:attribute\"",
        ),
        (":task", "task ':task': expected \"module:attribute\""),
        ("own_tasks_for_test:", "task 'own_tasks_for_test:': expected \"module:attribute\""),
        (
            "not_there_for_test:task",
            "task 'not_there_for_test:task': no module 'not_there_for_test', neither installed nor in {folder}",
        ),
        (
            "not_there_for_test.inner:task",
            "task 'not_there_for_test.inner:task': no module 'not_there_for_test.inner', neither installed nor in {folder}",
        ),
        (
            "needs_more_for_test:task",
            "task 'needs_more_for_test:task': 'needs_more_for_test' imports 'a_library_nobody_has', which is not installed",
        ),
        (
            "fails_for_test:task",
            "task 'fails_for_test:task': importing 'fails_for_test' raised ZeroDivisionError: division by zero",
        ),
        (
            "own_tasks_for_test:absent",
            "task 'own_tasks_for_test:absent': module 'own_tasks_for_test' ({folder}/own_tasks_for_test.py) "
            "has no attribute 'absent'",
        ),
        (
            "own_tasks_for_test:number",
            "task 'own_tasks_for_test:number' is a int, not a task: "
            "it has no name, layout, data_digest, draw_batch, scores, fitness, metrics",
        ),
        (
            "own_tasks_for_test:Half",
            "task 'own_tasks_for_test:Half' is a Half, not a task: it has no scores, fitness, metrics",
        ),
        (
            "os:abort",
            "task 'os:abort' is a builtin_function_or_method, which is not called; "
            "expected a task, or a function or a class that makes one",
        ),
        (
            "borrows_for_test:abort",
            "task 'borrows_for_test:abort' is a builtin_function_or_method, which is not called; "
            "expected a task, or a function or a class that makes one",
        ),
        (
            "borrows_for_test:disk_usage",
            "task 'borrows_for_test:disk_usage' comes from another module",
        ),
        (
            "os:PathLike",
            "task 'os:PathLike': making it raised TypeError: Can't instantiate abstract class PathLike "
            "with abstract method __fspath__",
        ),
        ("own_tasks_for_test:broken", "task 'own_tasks_for_test:broken': making it raised ValueError: no data here"),
        ("..:task", "task '..:task': expected \"module:attribute\""),
    ],
)
def test_a_name_that_leads_nowhere_says_why(folder: Path, name: str, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        load_task(name, folder)
    assert str(raised.value) == message.format(folder=folder)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("digitz", "name 'digits', or another of these"),
        ("own_tasks_for_test", 'for what own_tasks_for_test.py holds under the name task, write "own_tasks_for_test:task"'),
        ("..:task", 'write it like "my_task:task", for task in my_task.py'),
        ("nowhere.at_all:task", "check the name, and go to the folder that holds nowhere/at_all.py"),
        ("own_tasks_for_test:missing", "name a task of that module, or a function of it that makes one"),
        ("os:abort", "name one of those"),
        ("borrows_for_test:disk_usage", "if it makes a task, name it where it is defined: 'shutil:disk_usage'"),
        ("own_tasks_for_test:broken", None),
    ],
)
def test_what_can_be_done_about_it_is_said_where_it_is_known(folder: Path, name: str, fix: str | None) -> None:
    with pytest.raises(TaskError) as raised:
        load_task(name, folder)
    assert raised.value.fix == fix
