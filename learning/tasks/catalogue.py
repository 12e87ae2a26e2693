"""The built-in tasks by name: what commands may know of them without importing torch or gymnasium."""

import importlib.util
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuiltInTask:
    """One line for people, and what the network file commits to. `factory`: "module:function" that makes the task.

    `data_digest`: `Task.data_digest` in hex; a library that ships other data is found out when the task is loaded. Empty where
    the data are files of the user's: it is then computed by loading them, and two peers with other files have other networks.
    """

    name: str
    description: str
    parameters: int
    data_digest: str
    factory: str
    has_gradient: bool = True
    library: str = ""
    """What it needs beyond what is always installed."""
    extra: str = ""
    """Of pyproject.toml: what installs the library."""


BUILT_IN_TASKS = (
    BuiltInTask(
        "digits",
        "read handwritten digits, a network 64-64-10 (tanh), cross-entropy",
        4_810,
        "540c5eab48d1894ade948462100e9a15caf26c6dbde27c7f5efecf97801df173",
        "learning.tasks.digits:digits",
    ),
    BuiltInTask(
        "digits-large",
        "the same with a network 64-256-256-10",
        85_002,
        "56bde481511fe3391d10492c5b95b875d727a2a6627531918fe36d0ba564a9a9",
        "learning.tasks.digits:digits_large",
    ),
    BuiltInTask(
        "digits-mlp",
        "the same with a network 64-32-10, small and quick for gradients",
        2_410,
        "31ed6e74b9e8d1392371b9a1c26acd24f88bf95a907250443d15540ea0547a1c",
        "learning.tasks.digits:digits_mlp",
    ),
    BuiltInTask(
        "digits-cnn",
        "the same with two convolutions and a linear layer",
        16_330,
        "5277a3469fad6e3ec72cf2a67e4229f8afa539757c57c7e88ab00742ab8e68cd",
        "learning.tasks.digits:digits_cnn",
    ),
    BuiltInTask(
        "emnist",
        "read 47 letters and digits, two convolutions, two dense layers; from your files of EMNIST, in ./data or KUBRAT_DATA",
        189_327,
        "",
        "learning.tasks.emnist:emnist_balanced",
    ),
    BuiltInTask(
        "emnist-letters",
        "the same with 26 letters",
        178_806,
        "",
        "learning.tasks.emnist:emnist_letters",
    ),
    BuiltInTask(
        "emnist-digits",
        "the same with 10 digits",
        170_790,
        "",
        "learning.tasks.emnist:emnist_digits",
    ),
    BuiltInTask(
        "cifar100",
        "a hundred kinds of things in colour, two convolutions and three dense layers; from your files of CIFAR-100",
        324_516,
        "",
        "learning.tasks.cifar:cifar100",
    ),
    BuiltInTask(
        "rosenbrock",
        "the lowest point of Rosenbrock's valley in ten dimensions, a black-box function",
        10,
        "3cbd8ec679a72769340c51c51d5b272731952a7e44a7ca2ee4c3834efbbb1904",
        "learning.tasks.black_box:rosenbrock",
        has_gradient=False,
    ),
    BuiltInTask(
        "cartpole",
        'balance a pole on a cart, a policy 4-32-2 (tanh); needs gymnasium: pip install -e ".[rl]"',
        226,
        "2a14b2dd16e22e7ebabe5470d181220a8bb85281618d160e508bfe58b85dcb48",
        "learning.tasks.cartpole:CartPoleTask",
        has_gradient=False,
        library="gymnasium",
        extra="rl",
    ),
)
"""In the order in which they are shown."""


def built_in_task(name: str) -> BuiltInTask | None:
    """The entry of that name, or None."""
    return next((task for task in BUILT_IN_TASKS if task.name == name), None)


def missing_library(name: str) -> tuple[str, str] | None:
    """What a built-in task needs that is not installed, in words, and how to install it; None where nothing is missing."""
    task = built_in_task(name)
    if task is None or not task.library or importlib.util.find_spec(task.library) is not None:
        return None
    install = f'{sys.executable} -m pip install -c constraints.txt -e ".[{task.extra}]"'
    return f"task {name!r} needs {task.library}, which is not installed", install
