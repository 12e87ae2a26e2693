"""Where peers were reached, kept in the store, so that a restart finds the network without being told."""

import asyncio
import json
from collections.abc import Callable, Sequence

from node.storage.store import Store

META_ADDRESSES = "addresses"

REMEMBER_SECONDS = 0.25
"""A peer that is killed so soon after its first connection needs to be told again; only changes are written."""

SELDOM_SECONDS = 30.0
"""Once enough are stored: outsiders who come and go are news each time, and each write waits for the disk."""

ENOUGH = 8
"""As many as a peer dials."""

REMEMBERED_MAX = 64
"""More than a peer dials at once; among so many some still live."""

Addresses = Sequence[tuple[str, int]]


def remembered_addresses(store: Store) -> tuple[tuple[str, int], ...]:
    """(host, port) of earlier lives; () in the first."""
    text = store.meta(META_ADDRESSES)
    return () if text is None else tuple((host, port) for host, port in json.loads(text))


async def remember_addresses(store: Store, known: Callable[[], Addresses]) -> None:
    """Store what is known, whenever it changes, until cancelled. Nobody known is no reason to forget."""
    stored: Addresses = remembered_addresses(store)
    while True:
        await asyncio.sleep(REMEMBER_SECONDS if len(stored) < ENOUGH else SELDOM_SECONDS)
        addresses = tuple(known())[:REMEMBERED_MAX]
        if addresses and set(addresses) != set(stored):
            await asyncio.to_thread(store.set_meta, META_ADDRESSES, json.dumps(addresses))
            stored = addresses
