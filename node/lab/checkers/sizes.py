"""Counts what a replica holds: every container in it, by the class and the attribute that hold it. Changes nothing."""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache

import msgspec

from node.runtime.coupling import Coupling

ROOMS = ("consensus.", "node.runtime.coupling")
"""Objects of these packages are looked into; everything else is a value."""

Container = dict[object, object] | list[object] | set[object] | deque[object] | bytearray

CONTAINERS = (dict, list, set, deque, bytearray)

INNER = "[]"
"""Marks the containers that a container holds."""


def sizes_of(replica: Coupling) -> dict[str, int]:
    """The largest container of each name: "Class.attribute", with "[]" for each level of containers in containers."""
    sizes: dict[str, int] = {}
    visited: set[int] = set()
    pending: list[object] = [replica]
    while pending:
        owner = pending.pop()
        if id(owner) in visited:
            continue
        visited.add(id(owner))
        for attribute in _attributes(owner):
            value: object = getattr(owner, attribute, None)
            if _is_owner(value):
                pending.append(value)
            elif isinstance(value, CONTAINERS):
                pending += _count(f"{type(owner).__name__}.{attribute}", value, sizes)
    return sizes


def _count(name: str, value: Container, sizes: dict[str, int]) -> list[object]:
    """Note a container and those inside it; the objects to look into."""
    sizes[name] = max(sizes.get(name, 0), len(value))
    owners: list[object] = []
    for item in _items(value):
        if _is_owner(item):
            owners.append(item)
        elif isinstance(item, CONTAINERS):
            owners += _count(name + INNER, item, sizes)
    return owners


def _items(container: Container) -> Iterable[object]:
    if isinstance(container, bytearray):
        return ()
    return container.values() if isinstance(container, dict) else container


def _attributes(owner: object) -> Iterator[str]:
    kind: type = type(owner)
    yield from _slots(kind)
    yield from getattr(owner, "__dict__", {})


@cache
def _slots(kind: type) -> tuple[str, ...]:
    of_each = [each.__dict__.get("__slots__", ()) for each in kind.__mro__]
    return tuple(name for slots in of_each for name in ((slots,) if isinstance(slots, str) else slots))


def _is_owner(value: object) -> bool:
    kind: type = type(value)
    return _is_of_ours(kind)


@cache
def _is_of_ours(kind: type) -> bool:
    return kind.__module__.startswith(ROOMS) and not issubclass(kind, msgspec.Struct | type)
