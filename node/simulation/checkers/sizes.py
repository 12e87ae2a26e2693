"""Counts what a replica holds: every container in it, by the class and the attribute that hold it. Changes nothing."""

from collections import deque
from collections.abc import Iterator

import msgspec

from node.replica import Replica

ROOMS = ("consensus.", "node.replica")
"""Objects of these packages are looked into; everything else is a value."""

Container = dict[object, object] | list[object] | set[object] | deque[object] | bytearray

CONTAINERS = (dict, list, set, deque, bytearray)

INNER = "[]"
"""Marks the containers that a container holds."""


def sizes_of(replica: Replica) -> dict[str, int]:
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
            pending += _counted(f"{type(owner).__name__}.{attribute}", value, sizes)
    return sizes


def _counted(name: str, value: object, sizes: dict[str, int]) -> list[object]:
    """Note a container and those inside it; the objects to look into."""
    if not isinstance(value, CONTAINERS):
        return [value] if _is_owner(value) else []
    sizes[name] = max(sizes.get(name, 0), len(value))
    return [owner for item in _items(value) for owner in _counted(name + INNER, item, sizes)]


def _items(container: Container) -> Iterator[object]:
    if isinstance(container, bytearray):
        return iter(())
    return iter(container.values()) if isinstance(container, dict) else iter(container)


def _attributes(owner: object) -> Iterator[str]:
    for kind in type(owner).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
    yield from getattr(owner, "__dict__", {})


def _is_owner(value: object) -> bool:
    is_of_ours = type(value).__module__.startswith(ROOMS)
    return is_of_ours and not isinstance(value, msgspec.Struct | type)
