"""What is remembered of addresses, and how often that is written."""

import asyncio
import itertools
from pathlib import Path

from node.storage.remembered_addresses import ENOUGH, REMEMBER_SECONDS, remember_addresses, remembered_addresses
from node.storage.store import Store


def test_the_first_addresses_are_stored_at_once_and_a_crowd_that_comes_and_goes_is_not_written_each_time(
    tmp_path: Path,
) -> None:
    numbers = itertools.count()

    async def scenario(store: Store) -> None:
        few = tuple((f"10.0.0.{number}", 7_600) for number in range(ENOUGH - 1))
        known = [few]

        def changing() -> tuple[tuple[str, int], ...]:
            return known[0] + tuple((f"10.0.1.{next(numbers) % 250}", 7_600) for _ in range(len(known[0]) - len(few)))

        task = asyncio.create_task(remember_addresses(store, changing))
        await asyncio.sleep(3 * REMEMBER_SECONDS)
        assert remembered_addresses(store) == few
        known[0] = (*few, ("10.0.0.100", 7_600), ("10.0.0.101", 7_600))
        await asyncio.sleep(3 * REMEMBER_SECONDS)
        stored = remembered_addresses(store)
        assert stored[: len(few)] == few
        assert len(stored) > len(few)
        calls = next(numbers)
        await asyncio.sleep(4 * REMEMBER_SECONDS)
        assert remembered_addresses(store) == stored
        assert next(numbers) == calls + 1
        task.cancel()

    store = Store.open(tmp_path / "kubrat.db")
    asyncio.run(scenario(store))
    store.close()
