"""A database is read while its peer runs and after its end; what is told once is not told again."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node.common.errors import NodeError
from node.lab.store_audit.rows import DamagedStoreError, News, Row, StoreReader
from node.storage.store import STORE_VERSION, Store


def written(path: Path, *rows: tuple[str, bytes, bytes | None]) -> None:
    store = Store.open(path)
    asyncio.run(store.write(rows))
    store.close()


def test_only_new_and_changed_rows_are_news_and_places_are_all_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    reader = StoreReader(path)
    assert reader.news() == News()
    written(path, ("t", b"1", b"one"), ("t", b"2", b"two"), ("payload", b"digest", b"large"))
    everything = (("payload", b"digest"), ("t", b"1"), ("t", b"2"))
    assert reader.news() == News((Row("payload", b"digest", b""), Row("t", b"1", b"one"), Row("t", b"2", b"two")), everything)
    assert reader.news() == News((), everything)
    written(path, ("t", b"1", None), ("t", b"2", b"other"))
    assert reader.news() == News((Row("t", b"2", b"other"),), (("payload", b"digest"), ("t", b"2")))
    path.unlink()
    written(path, ("t", b"1", b"one"))
    assert reader.news() == News((), (("t", b"1"),))


def test_an_open_store_is_read_as_of_its_last_commit_and_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    reader = StoreReader(path)

    async def write_and_read() -> list[News]:
        store = Store.open(path)
        found = []
        for number in range(3):
            await store.write([("t", bytes([number]), b"value")])
            found.append(reader.news())
        store.close()
        return found

    assert [len(news.rows) for news in asyncio.run(write_and_read())] == [1, 1, 1]


def test_a_store_of_another_version_is_named_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    written(path, ("t", b"1", b"one"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(
        NodeError, match=f"was made by an older version of kubrat .store version 1, this one has {STORE_VERSION}"
    ):
        StoreReader(path).news()


def test_what_is_no_database_any_more_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "kubrat.db"
    written(path, ("t", b"1", b"one"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET value = x'00'")
    with pytest.raises(DamagedStoreError, match="the checksum of t 31 is wrong"):
        StoreReader(path).news()
    path.write_bytes(b"something else" * 1_000)
    with pytest.raises(DamagedStoreError):
        StoreReader(path).news()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("key = 'zz'", "a row of 't' has the key 'zz' and the checksum "),
        ("value = 'zz'", "t 31 holds 'zz' where bytes were written"),
        ("checksum = 'zz'", "a row of 't' has the key b'1' and the checksum 'zz'"),
    ],
)
def test_a_row_of_another_type_is_damaged(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "kubrat.db"
    written(path, ("t", b"1", b"one"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE records SET {change}")
    with pytest.raises(DamagedStoreError) as raised:
        StoreReader(path).news()
    assert str(raised.value).startswith(said)
