"""Stores of gradients: what a node's own learner would refuse at a restart is found, though every honest store agrees on it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from learning.learner import StateKept
from learning.state import decode_kept_state, encode_kept_state
from node.lab.scenarios.toy_tasks import ToyTask, toy_task
from node.lab.store_audit.autopsy import Reopening
from node.storage.tables import STATE_KEY, STATE_TABLE
from tests.node.lab.store_audit.folders import ORDER, Folders, filled

pytestmark = pytest.mark.xdist_group("reopening")  # they share what one of them has run

LONG = ORDER.replace("duration_s = 8", "duration_s = 20").replace('"evolution"', '"gradient"\ntask = "quadratic"')


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return filled(LONG, tmp_path_factory.mktemp("gradient"))


def fault(folders: Folders, number: int) -> str | None:
    reopening = Reopening(folders.rules, toy_task(ToyTask.QUADRATIC))
    return reopening.fault(folders.ids[number], folders.path(number) / "kubrat.db")


def keep(folders: Folders, number: int, change: dict[str, bytes]) -> StateKept:
    kept = decode_kept_state(folders.rows(number, STATE_TABLE)[STATE_KEY])
    folders.write(number, (STATE_TABLE, STATE_KEY, encode_kept_state(replace(kept, **change))))
    return kept


def other_parameters(folders: Folders, number: int) -> bytes:
    kept = decode_kept_state(folders.rows(number, STATE_TABLE)[STATE_KEY])
    return (np.frombuffer(kept.parameters, dtype="<f4") + np.float32(1)).astype("<f4").tobytes()


def test_an_honest_store_is_opened_and_not_written_to(folders: Folders) -> None:
    before = (folders.path(1) / "kubrat.db").read_bytes()
    assert [fault(folders, number) for number in range(4)] == [None] * 4
    assert (folders.path(1) / "kubrat.db").read_bytes() == before


def test_nothing_is_found_where_all_are_honest(folders: Folders) -> None:
    assert folders.finding() is None


def test_a_store_that_is_not_there_is_no_fault(folders: Folders) -> None:
    (folders.path(1) / "kubrat.db").unlink()
    assert fault(folders, 1) is None


def test_parameters_that_are_not_the_newest_models_are_refused(folders: Folders) -> None:
    keep(folders, 1, {"parameters": other_parameters(folders, 1)})
    told = fault(folders, 1)
    assert told is not None
    assert re.fullmatch(r"the stored model of version \d+ is not the one that the stored memory names", told)


def test_a_memory_that_cannot_be_read_is_refused(folders: Folders) -> None:
    kept = keep(folders, 1, {"memory": b"\x01"})
    assert kept.memory
    told = fault(folders, 1)
    assert told is not None
    assert told.startswith("the stored state's memory does not fit the task's model: ")


def test_a_state_of_a_commit_that_is_none_is_refused(folders: Folders) -> None:
    keep(folders, 1, {"commit_step": bytes([7]) * 32})
    told = f"the kept state is of step {'07' * 32}, which is no commit by the records"
    assert fault(folders, 1) == told


def test_half_a_state_is_refused(folders: Folders) -> None:
    folders.write(1, (STATE_TABLE, STATE_KEY, b"half"))
    assert fault(folders, 1) == "an assertion does not hold: kept state of 4 bytes, at least 120 expected"
