"""A simulated disk against a model of it: what was synced stays, what was not is lost whole."""

from hypothesis import given
from hypothesis import strategies as st

from consensus.types import Instant
from node.lab.simulation.disk import Disk
from node.storage.tables import Row

ROWS = st.tuples(st.just("t"), st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=1))
BATCHES = st.lists(st.tuples(st.integers(0, 400), st.lists(ROWS, min_size=1, max_size=4).map(tuple)), max_size=12)


def applied(batches: list[tuple[Row, ...]]) -> dict[tuple[str, bytes], bytes]:
    rows: dict[tuple[str, bytes], bytes] = {}
    for batch in batches:
        for table, key, value in batch:
            rows.pop((table, key), None)
            if value is not None:
                rows[table, key] = value
    return rows


@given(batches=BATCHES, unsynced_ms=st.integers(0, 1_000))
def test_a_power_failure_loses_what_was_not_synced_and_nothing_else(
    batches: list[tuple[int, tuple[Row, ...]]], unsynced_ms: int
) -> None:
    disk, now, written = Disk(unsynced_ms=unsynced_ms), 0, []
    for gap_ms, batch in batches:
        now += gap_ms
        disk.write(batch, Instant(now))
        written.append((now, batch))
    lost = disk.lose_tail(Instant(now))
    kept = [batch for at, batch in written if not unsynced_ms or now - at >= unsynced_ms]
    assert (disk.rows, lost) == (applied(kept), len(written) - len(kept))


def test_a_backup_is_a_copy_and_comes_back_into_the_same_dictionary() -> None:
    disk = Disk()
    read_by_a_machine = disk.rows
    disk.write((("t", b"a", b"old"),), Instant(0))
    disk.keep_backup()
    disk.write((("t", b"a", b"new"), ("t", b"b", b"new")), Instant(1))
    disk.restore_backup()
    assert read_by_a_machine == {("t", b"a"): b"old"}
