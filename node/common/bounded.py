"""Maps and sets that forget their oldest entries rather than grow."""

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, ValuesView
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedMap(Generic[Key, Value]):
    """The newest `count_max` keys, in the order in which they came. A key that is set again keeps its place."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __setitem__(self, key: Key, value: Value) -> None:
        self._values[key] = value
        if len(self._values) > self._count_max:
            self.drop_oldest()

    def renew(self, key: Key, value: Value) -> None:
        """Set it as the newest key, also where it was there before."""
        self._values.pop(key, None)
        self[key] = value

    def get(self, key: Key) -> Value | None:
        """Its value; None where it is not there, or was forgotten."""
        return self._values.get(key)

    def pop(self, key: Key) -> Value | None:
        """Its value, which is forgotten now."""
        return self._values.pop(key, None)

    def drop_oldest(self) -> Value:
        """The value that came first, which is forgotten now."""
        return self._values.popitem(last=False)[1]

    def values(self) -> ValuesView[Value]:
        """The oldest first."""
        return self._values.values()

    def items(self) -> ItemsView[Key, Value]:
        """The oldest first."""
        return self._values.items()

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._values)

    def __reversed__(self) -> Iterator[Key]:
        return reversed(self._values)


class RecentSet(Generic[Key]):
    """The last `count_max` distinct items added."""

    def __init__(self, count_max: int) -> None:
        self._items: BoundedMap[Key, None] = BoundedMap(count_max)

    def add(self, item: Key) -> bool:
        """Whether the item is new; the oldest is forgotten when there are too many."""
        if item in self._items:
            return False
        self._items[item] = None
        return True

    def discard(self, item: Key) -> None:
        """As if it had never been added."""
        self._items.pop(item)

    def __contains__(self, item: Key) -> bool:
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)
