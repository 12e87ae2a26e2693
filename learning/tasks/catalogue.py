"""The built-in tasks by name: what commands may know of them without importing torch, scikit-learn or gymnasium."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuiltInTask:
    """One line for people, and what the network file commits to. `factory`: "module:function" that makes the task.

    `data_digest`: `Task.data_digest` in hex; a library that ships other data is found out when the task is loaded.
    """

    name: str
    description: str
    parameters: int
    data_digest: str
    factory: str


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
        "rosenbrock",
        "the lowest point of Rosenbrock's valley in ten dimensions, a black-box function",
        10,
        "3cbd8ec679a72769340c51c51d5b272731952a7e44a7ca2ee4c3834efbbb1904",
        "learning.tasks.black_box:rosenbrock",
    ),
    BuiltInTask(
        "cartpole",
        'balance a pole on a cart, a policy 4-32-2 (tanh); needs gymnasium: pip install -e ".[rl]"',
        226,
        "2a14b2dd16e22e7ebabe5470d181220a8bb85281618d160e508bfe58b85dcb48",
        "learning.tasks.cartpole:CartPoleTask",
    ),
)
"""In the order in which they are shown."""


def built_in_task(name: str) -> BuiltInTask | None:
    """The entry of that name, or None."""
    return next((task for task in BUILT_IN_TASKS if task.name == name), None)
