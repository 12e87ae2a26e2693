"""Killed, cut off from power, given an old copy of its database: what was acknowledged is there, or its rounds are."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.common.errors import NodeError
from node.storage import redo_log
from node.storage.redo_log import REDO_LOG_NAME, LogContent, LoggedBatch, RedoLog, read_redo_log
from node.storage.store import Store
from node.storage.tables import Row

STORE_NAME = "kubrat.db"


def write(store: Store, *rows: Row, signed_round: int | None = None) -> None:
    asyncio.run(store.write(rows, signed_round))


def contents(store: Store) -> dict[bytes, bytes]:
    return dict(store.records("t"))


@dataclass
class Copy:
    """The database as it was once. `log`: which log went with it."""

    folder: Path
    rows: dict[bytes, bytes]
    log: tuple[str, int]


@dataclass
class Peer:
    """One peer's folder, over many runs; each run is in a folder of its own, so that a process can end in the middle."""

    root: Path
    rows: dict[bytes, bytes] = field(default_factory=dict)
    """All that was acknowledged."""
    signed_round: int = 0
    copies: list[Copy] = field(default_factory=list)
    run: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.store = Store.open(self.folder / STORE_NAME)

    @property
    def folder(self) -> Path:
        return self.root / f"run-{self.run}"

    def write(self, key: int, is_signed: bool) -> None:
        row = ("t", bytes([key]), f"{len(self.rows)} {self.signed_round}".encode())
        self.signed_round += is_signed
        write(self.store, row, signed_round=self.signed_round if is_signed else None)
        self.rows[row[1]] = row[2]

    def copy(self) -> None:
        """As `cp` would, with all that the process has written so far, synced or not."""
        content = read_redo_log(self.folder / REDO_LOG_NAME)
        folder = self.root / f"copy-{len(self.copies)}-{self.run}"
        folder.mkdir()
        copy_database(self.folder, folder)
        self.copies.append(Copy(folder, dict(self.rows), (content.opening, content.number)))

    def end(self, database: Path | None) -> None:
        """The process is killed, and its folder is found with this database, its own or an old copy; then it starts again."""
        before = self.folder
        self.run += 1
        self.folder.mkdir()
        copy_database(before if database is None else database, self.folder)
        shutil.copy(before / REDO_LOG_NAME, self.folder / REDO_LOG_NAME)
        self.store.close()
        self.store = Store.open(self.folder / STORE_NAME)
        assert self.store.signed_round == self.signed_round

    def lost_tails(self) -> Iterator[Copy]:
        """Copies that a power cut may leave: with all that was synced, and without some that was not."""
        content = read_redo_log(self.folder / REDO_LOG_NAME)
        return (copy for copy in self.copies if copy.log == (content.opening, content.number))


def copy_database(source: Path, target: Path) -> None:
    for suffix in ("", "-wal"):
        if (source / f"{STORE_NAME}{suffix}").exists():
            shutil.copy(source / f"{STORE_NAME}{suffix}", target / f"{STORE_NAME}{suffix}")


actions = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("copy"), st.none(), st.none()),
        st.tuples(st.sampled_from(["kill", "power", "restore", "wipe"]), st.integers(0, 9), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(actions=actions)
def test_no_acknowledged_row_is_lost_but_with_an_old_copy_and_no_signed_round_is_ever(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int, bool]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redo_log, "LOG_BATCHES_MAX", 4)
        peer = Peer(tmp_path_factory.mktemp("peer"))
        for action, number, is_signed in actions:
            match action:
                case "write":
                    peer.write(number, is_signed)
                case "copy":
                    peer.copy()
                case "kill":
                    peer.end(None)
                case "power":
                    tails = list(peer.lost_tails())
                    peer.end(tails[number % len(tails)].folder if tails else None)
                case "restore" if peer.copies:
                    copy = peer.copies[number % len(peer.copies)]
                    is_recent = copy in list(peer.lost_tails())
                    peer.end(copy.folder)
                    peer.rows = peer.rows if is_recent else dict(copy.rows)
                case "wipe":
                    peer.end(peer.root / "nowhere")
                    peer.rows = {}
            assert contents(peer.store) == peer.rows
            assert read_redo_log(peer.folder / REDO_LOG_NAME).signed_round == peer.signed_round
        peer.store.close()


def test_a_batch_is_in_the_log_when_it_is_acknowledged_and_the_database_is_synced_once_the_log_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redo_log, "LOG_BATCHES_MAX", 3)
    store = Store.open(tmp_path / STORE_NAME)
    first = read_redo_log(tmp_path / REDO_LOG_NAME).number
    logged = []
    for number in range(1, 6):
        write(store, ("t", bytes([number]), b"x"), signed_round=number)
        content = read_redo_log(tmp_path / REDO_LOG_NAME)
        logged.append((content.number - first, [batch.signed_round for batch in content.batches], content.signed_round))
    store.close()
    assert logged == [(0, [1], 1), (0, [1, 2], 2), (0, [1, 2, 3], 3), (4, [], 4), (4, [5], 5)]


def test_a_large_batch_is_written_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path / STORE_NAME)
    write(store, ("t", b"large", bytes(100_000)), signed_round=3)
    content = read_redo_log(tmp_path / REDO_LOG_NAME)
    store.close()
    assert (content.batches, content.signed_round) == ((), 3)
    assert (tmp_path / REDO_LOG_NAME).stat().st_size < 100


BATCH = LoggedBatch(1, 5, (("t", b"k", b"v"), ("t", b"gone", None)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = RedoLog(tmp_path / REDO_LOG_NAME)
    log.begin("ab", 0, 4)
    log.append(BATCH.number, BATCH.signed_round, BATCH.rows)
    log.append(2, 6, ())
    log.close()
    return tmp_path / REDO_LOG_NAME


def test_a_batch_that_was_cut_off_was_never_acknowledged(path: Path) -> None:
    whole = path.read_bytes()
    assert read_redo_log(path) == LogContent("ab", 0, 6, (BATCH, LoggedBatch(2, 6, ())))
    for cut in range(1, 12):
        path.write_bytes(whole[:-cut])
        assert read_redo_log(path) == LogContent("ab", 0, 5, (BATCH,))
    path.write_bytes(whole + bytes(64))
    assert read_redo_log(path).signed_round == 6


def test_a_damaged_log_is_told_and_what_it_means(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[45] ^= 1
    for damaged in (bytes(whole), b"7\n", path.read_bytes()[:20]):
        path.write_bytes(damaged)
        with pytest.raises(NodeError, match=r"the redo log .* is damaged: ") as caught:
            Store.open(path.with_name(STORE_NAME))
        assert caught.value.fix == (
            "move it away: at its next start the peer asks f + 1 members for its newest block before it signs another"
        )


def test_where_there_is_no_log_nothing_was_signed(tmp_path: Path) -> None:
    assert read_redo_log(tmp_path / REDO_LOG_NAME) == LogContent()
    store = Store.open(tmp_path / STORE_NAME)
    assert store.signed_round == 0
    store.close()


def test_a_log_that_cannot_be_written_stops_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / STORE_NAME)
    monkeypatch.setattr(os, "fdatasync", _fails)
    for _ in range(2):
        with pytest.raises(NodeError, match=r"cannot write the redo log .*: "):
            write(store, ("t", b"k", b"v"))
    store.close()


def test_a_log_that_cannot_be_begun_stops_the_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where too many files are open: whoever waits for the write is told."""
    store = Store.open(tmp_path / STORE_NAME)
    monkeypatch.setattr("node.storage.redo_log.os.open", _fails)
    for _ in range(2):
        with pytest.raises(NodeError, match=r"cannot write the redo log .*: "):
            write(store, ("t", b"k", bytes(2**17)))
    store.close()


def _fails(*_: object) -> None:
    raise OSError(5, "Input/output error")
