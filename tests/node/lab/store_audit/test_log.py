"""What a node logs against others is read back: the lines are written by the node's own code."""

import asyncio
import logging
from pathlib import Path

import pytest

from consensus.effects import Accusation, Accuse, Offence, Refuse
from node.lab.store_audit.log import LogReader
from node.runtime.logs import FORMAT
from tests.node.net.example_peers import identity_of, node_of
from tests.node.runtime.test_driver import Script, run

ALICE, BOB, OUTSIDER = (identity_of(number).peer for number in (1, 2, 3))


def append(path: Path, *records: logging.LogRecord) -> None:
    """As a node's log has them."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{logging.Formatter(FORMAT).format(record)}\n" for record in records)


def warning(text: str) -> logging.LogRecord:
    """As `node.runtime.connected.Connected.note` logs what the network says."""
    return logging.LogRecord("node.runtime.connected", logging.WARNING, "", 0, "%s", (text,), None)


async def refusals() -> list[str]:
    node = node_of(9)
    node.network.refuse(ALICE, Offence.FLOODING, "too many: 7 (of 5)")
    node.network.refuse(OUTSIDER, Offence.MALFORMED, "bytes")
    return node.notes


def test_refusals_and_accusations_of_known_peers_are_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "node.log"
    reader = LogReader(path, (ALICE, BOB))
    assert list(reader.news()) == []
    append(path, *map(warning, asyncio.run(refusals())))
    assert list(reader.news()) == [Refuse(ALICE, Offence.FLOODING, "too many: 7 (of 5)")]
    run(Script(lambda _: (), (Accuse(Accusation(BOB, Offence.FALSE_CLAIM, "claimed 3 (measured 2)", b"bytes")),)), tmp_path)
    append(path, warning("refused to start"), *caplog.records)
    assert list(reader.news()) == [Accuse(Accusation(BOB, Offence.FALSE_CLAIM, "claimed 3 (measured 2)", b""))]
    assert list(reader.news()) == []


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    reader = LogReader(path, (ALICE,))
    append(path, warning(f"refused peer {ALICE[:4].hex()} at 127.0.0.1:7600 for 600 s: {Offence.FLOODING}: many"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert list(reader.news()) == []
    path.write_bytes(whole)
    assert list(reader.news()) == [Refuse(ALICE, Offence.FLOODING, "many")]
