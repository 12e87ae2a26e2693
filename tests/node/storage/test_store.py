import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.common.errors import NodeError
from node.storage.store import STORE_VERSION, CorruptStoreError, Store, StoreFailedError
from node.storage.tables import Row
from tests.node.storage.small_disk import fill, make_read_only, small_disk

ROOT = Path(__file__).parents[3]

WRITER = """
import asyncio, sys
from pathlib import Path
from node.storage.store import Store

async def main():
    store = Store.open(Path(sys.argv[1]))
    number = 0
    while True:
        rows = [("block", (number + i).to_bytes(8, "big"), bytes(200)) for i in range(3)]
        await asyncio.gather(*(store.write([row]) for row in rows))
        number += 3
        print(number, flush=True)

asyncio.run(main())
"""

WRITER_WITH_LIMIT = """
import asyncio, resource, signal, sys
from pathlib import Path
from node.storage.store import Store, StoreFailedError

async def main():
    store = Store.open(Path(sys.argv[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    number = 0
    while True:
        try:
            await store.write([("block", number.to_bytes(8, "big"), bytes(1_000))])
        except StoreFailedError as error:
            print(number, error)
            try:
                await store.write([("block", b"later", b"")])
            except StoreFailedError as later:
                print("later", later)
            return store.close()
        number += 1

asyncio.run(main())
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "kubrat.db")
    yield store
    store.close()


def write(store: Store, *rows: Row) -> None:
    asyncio.run(store.write(rows))


def fill_table(path: Path, count: int) -> None:
    store = Store.open(path)
    write(store, *(("block", number.to_bytes(8, "big"), bytes([number % 256]) * 500) for number in range(count)))
    store.close()


def test_what_was_written_is_read_back_in_the_order_of_the_keys(store: Store) -> None:
    write(store, ("block", b"\x02", b"two"), ("other", b"\x00", b"zero"), ("block", b"\x01", b"one"))
    assert list(store.records("block")) == [(b"\x01", b"one"), (b"\x02", b"two")]
    assert store.last("block") == (b"\x02", b"two")
    assert store.get("other", b"\x00") == b"zero"


def test_what_was_never_written_is_none(store: Store) -> None:
    assert (list(store.records("block")), store.last("block"), store.get("block", b""), store.meta("x")) == (
        [],
        None,
        None,
        None,
    )
    assert store.keys("block") == ()


def test_an_equal_key_is_overwritten_and_the_last_of_a_batch_wins(store: Store) -> None:
    write(store, ("block", b"k", b"old"))
    write(store, ("block", b"k", b"new"), ("block", b"k", b"newest"))
    assert list(store.records("block")) == [(b"k", b"newest")]
    assert store.keys("block") == (b"k",)


keys = st.binary(max_size=3)
rows_strategy = st.lists(st.tuples(st.sampled_from(["a", "b"]), keys, st.none() | st.binary(max_size=40)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(rows_strategy, max_size=4))
def test_the_store_is_a_sorted_dictionary_that_survives_reopening(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Row]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "kubrat.db"
    store = Store.open(path)
    for batch in batches:
        write(store, *batch)
    store.close()
    last = {(table, key): value for batch in batches for table, key, value in batch}
    twin = {place: value for place, value in last.items() if value is not None}
    reopened = Store.open(path)
    for table in ("a", "b"):
        expected = sorted((key, value) for (kind, key), value in twin.items() if kind == table)
        assert list(reopened.records(table)) == expected
        assert reopened.last(table) == (expected[-1] if expected else None)
    reopened.close()


def test_a_row_without_a_value_is_forgotten_in_its_turn(store: Store) -> None:
    rows: list[Row] = [("payload", b"a", b"1"), ("payload", b"b", b"2"), ("payload", b"a", None), ("payload", b"c", b"3")]
    asyncio.run(store.write(rows))
    asyncio.run(store.write([("payload", b"c", None), ("payload", b"c", b"4")]))
    assert list(store.records("payload")) == [(b"b", b"2"), (b"c", b"4")]
    assert [store.has("payload", key) for key in (b"a", b"b", b"c")] == [False, True, True]


def test_many_writers_at_once_are_all_served_in_few_commits(store: Store) -> None:
    async def write_many() -> None:
        await asyncio.gather(*(store.write([("block", bytes([number]), b"x")]) for number in range(200)))

    asyncio.run(write_many())
    assert [key[0] for key, _ in store.records("block")] == list(range(200))


def test_close_writes_what_still_waits(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"

    async def leave_waiting() -> None:
        store = Store.open(path)
        waiting = [asyncio.ensure_future(store.write([("block", bytes([number]), b"x")])) for number in range(50)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*waiting)

    asyncio.run(leave_waiting())
    store = Store.open(path)
    assert len(list(store.records("block"))) == 50
    store.close()
    store.close()  # closing twice is no mistake


def test_a_cancelled_write_harms_no_other(store: Store) -> None:
    async def cancel_one() -> None:
        first = asyncio.ensure_future(store.write([("block", b"1", b"")]))
        await asyncio.sleep(0)
        first.cancel()
        await store.write([("block", b"2", b"")])
        assert first.cancelled()

    asyncio.run(cancel_one())
    assert store.get("block", b"2") == b""


def test_meta_is_kept(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "kubrat.db")
    store.set_meta("peer_id", "ab")
    assert store.meta("peer_id") == "ab"
    store.close()
    reopened = Store.open(tmp_path / "kubrat.db")
    assert reopened.meta("peer_id") == "ab"
    reopened.close()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = 0
    for _ in range(20):
        acknowledged = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    acknowledged = max(acknowledged, *(int(line) for line in child.stdout.read().split()), 0)
    child.wait()
    child.stdout.close()
    store = Store.open(path)
    found = [int.from_bytes(key, "big") for key, _ in store.records("block")]
    store.close()
    assert found[:acknowledged] == list(range(acknowledged))


def test_a_real_write_failure_stops_the_store_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    command = [sys.executable, "-c", WRITER_WITH_LIMIT, str(path)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, later = child.stdout.splitlines()
    acknowledged = int(first.split()[0])
    assert "cannot be written: the disk failed (SQLITE_IOERR_WRITE)" in first
    assert later == f"later {first.partition(' ')[2]}"
    store = Store.open(path)
    assert [int.from_bytes(key, "big") for key, _ in store.records("block")] == list(range(acknowledged))
    store.close()


def test_a_full_disk_is_named_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = Store.open(disk / "kubrat.db")
        write(store, ("block", b"1", b"kept"))
        fill(disk)
        with pytest.raises(StoreFailedError, match=r"kubrat.db cannot be written: the disk is full"):
            write(store, ("block", b"2", bytes(100_000)))
        with pytest.raises(StoreFailedError, match=r"the disk is full"):
            write(store, ("block", b"3", b""))
        store.close()
        (disk / "ballast").unlink()
        reopened = Store.open(disk / "kubrat.db")
        assert list(reopened.records("block")) == [(b"1", b"kept")]
        reopened.close()


def test_a_disk_that_becomes_read_only_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill_table(disk / "kubrat.db", 3)
        make_read_only(disk)
        with pytest.raises(StoreFailedError, match=r"cannot be (written: it is read-only|opened)"):
            Store.open(disk / "kubrat.db")


def _garbage_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(range(256)) * 32 + content[middle + 8_192 :]


def _one_bit_in_a_value(content: bytes) -> bytes:
    place = content.index(b"\x2a" * 400)
    return content[: place + 200] + b"\x2b" + content[place + 201 :]


def _no_header(content: bytes) -> bytes:
    return b"this is a text, not a database. " * 4 + content[128:]


def _cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [_garbage_in_the_middle, _one_bit_in_a_value, _no_header, _cut_short])
def test_a_damaged_database_is_told_with_the_way_to_go_on(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "kubrat.db"
    fill_table(path, 200)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptStoreError, match=r"kubrat.db is corrupt: ") as caught:
        _read_all(path)
    assert caught.value.fix is not None
    assert "move kubrat.db, kubrat.db-wal and kubrat.db-shm away and start again: the peer re-syncs" in caught.value.fix
    assert "\n" not in caught.value.message


def _read_all(path: Path) -> None:
    store = Store.open(path)
    try:
        for _ in store.records("block"):
            pass
    finally:
        store.close()


@pytest.mark.parametrize(
    ("version", "age"), [(STORE_VERSION - 1, "an older"), (STORE_VERSION + 1, "a newer"), (-1, "an older")]
)
def test_a_database_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path, version: int, age: str) -> None:
    path = tmp_path / "kubrat.db"
    fill_table(path, 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(NodeError) as caught:
        Store.open(path)
    assert caught.value.message == (
        f"database {path} was made by {age} version of kubrat (store version {version}, this one has {STORE_VERSION})"
    )
    assert caught.value.fix == (
        "go on with that version, or move kubrat.db, kubrat.db-wal and kubrat.db-shm away and start again: "
        "the peer re-syncs from the others (your key is in identity.pem, keep it)"
    )
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (1,)


def test_a_database_in_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFailedError, match=r"kubrat.db cannot be opened"):
        Store.open(tmp_path / "nowhere" / "kubrat.db")


def test_a_look_up_does_not_read_the_long_rows_beside_it(tmp_path: Path) -> None:
    """Keys lie in an index of their own: what an outsider may ask for costs the same whatever else is stored."""
    store = Store.open(tmp_path / "kubrat.db")
    try:
        asyncio.run(store.write([("state", bytes([number]), bytes(4_000_000)) for number in range(0, 200, 20)]))
        with contextlib.closing(sqlite3.connect(tmp_path / "kubrat.db")) as connection:
            plan = connection.execute(
                "EXPLAIN QUERY PLAN SELECT 1 FROM records WHERE kind = ? AND key = ?", ("state", b"")
            ).fetchall()
        assert "COVERING INDEX" in plan[0][3]
        assert not store.has("state", b"\x0b")
    finally:
        store.close()
