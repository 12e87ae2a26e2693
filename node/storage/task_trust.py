"""Whether the code that a network file names may run here: only once a person on this machine has named it, too.

A network file names a task; one that is not built in is a module, and importing a module runs it. The file comes from
another machine, so its word alone runs nothing.
"""

from learning.tasks.catalogue import built_in_task
from node.common.errors import NodeError
from node.rules.network_rules import NetworkRules, network_id
from node.storage.folder import NodeFolder

_META_TRUSTED = "trusted_task"
"""Holds the network id for which it was said: a digest of the whole file, the task's name and its data's digest included."""


def is_trusted(rules: NetworkRules, named: str) -> bool:
    """Whether the task is built in, or is the one that was `named`."""
    return built_in_task(rules.task.name) is not None or rules.task.name == named


def check_named(rules: NetworkRules, named: str, option: str) -> None:
    """Raises NodeError, which says what to type, where the rules name a task that is not built in and that `option` did not."""
    if not is_trusted(rules, named):
        raise _untrusted(rules.task.name, named, option)


def check_trust(folder: NodeFolder, named: str) -> None:
    """The same for a peer's folder, which remembers what was once named for it."""
    is_remembered = folder.store.meta(_META_TRUSTED) == network_id(folder.rules).hex()
    if not is_remembered:
        check_named(folder.rules, named, "--trust-task")
        trust(folder)


def trust(folder: NodeFolder) -> None:
    """Remember that the task of this folder's rules was named here."""
    if built_in_task(folder.rules.task.name) is None:
        folder.store.set_meta(_META_TRUSTED, network_id(folder.rules).hex())


def _untrusted(name: str, named: str, option: str) -> NodeError:
    """A built-in task that was named is nobody's code, and may be the option's default: it is not spoken of."""
    otherwise = f", and {option} names {named!r}" if named and built_in_task(named) is None else ""
    return NodeError(
        f"the network's task is {name!r}, which is not built in{otherwise}: taking part runs the code of that module here",
        f"if you know this code and want to run it, add {option} {name}",
    )
