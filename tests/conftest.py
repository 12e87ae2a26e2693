"""Which tests are slow, and which must not run beside each other. `make test` runs all, `make quick` all but the slow ones."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or its drawing, says nothing on a machine that is busy.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=2_000)
settings.load_profile("usual")  # or: pytest --hypothesis-profile thorough

ROOT = Path(__file__).parent

WHOLE_NETWORKS = ("node/lab/runs", "node/lab/simulation", "node/lab/faults", "node/lab/studies", "node/lab/store_audit")
"""Rooms whose tests run whole networks, for seconds each. Elsewhere a test of more than half a second is marked by itself."""

PROCESSES = "processes"
"""The group of all tests that start real node processes: they wait for blocks within a time, and want the cores for it."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        room = item.path.relative_to(ROOT).parent
        if item.get_closest_marker("processes"):
            item.add_marker("slow")
            item.add_marker(pytest.mark.xdist_group(PROCESSES))
        elif any(room.is_relative_to(slow) for slow in WHOLE_NETWORKS):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def folder_of_all_workers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder of this session that the tests of all its workers share, however many there are."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if hasattr(request.config, "workerinput") else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder
