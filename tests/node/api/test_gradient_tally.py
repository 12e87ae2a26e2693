"""What became of everybody's gradients is counted by worker, outcome and staleness."""

from learning.learner import GradientReport, GradientsReport
from node.api.telemetry import WORKERS_MAX, GradientTally

ALICE, BOB = b"a" * 32, b"b" * 32


def told(*judged: GradientReport, version: int = 1, weights: tuple[tuple[bytes, float], ...] = ()) -> GradientsReport:
    return GradientsReport(b"s" * 32, version, judged, weights)


def test_outcomes_are_counted_by_worker() -> None:
    tally = GradientTally()
    tally.add(told(GradientReport(ALICE, "applied", True, 0), GradientReport(BOB, "it does not decode", False, None)))
    tally.add(told(GradientReport(ALICE, "applied", True, 3), GradientReport(ALICE, "its model is too old", False, 300)))
    alice, bob = tally.status().workers
    assert (alice.peer_id, alice.delivered, alice.accepted) == (ALICE.hex(), 3, 2)
    assert alice.outcomes == {"applied": 2, "its model is too old": 1}
    assert (bob.delivered, bob.accepted, bob.outcomes) == (1, 0, {"it does not decode": 1})


def test_staleness_falls_into_bins_of_doubling_width() -> None:
    tally = GradientTally()
    tally.add(told(*(GradientReport(ALICE, "applied", True, staleness) for staleness in (0, 1, 2, 3, 5, 300, 9_999))))
    bins = tally.status().staleness
    assert {low: number for low, number in bins.items() if number} == {"0": 1, "1": 1, "2": 2, "4": 1, "256": 2}


def test_the_weights_are_those_of_the_newest_step() -> None:
    tally = GradientTally()
    tally.add(told(GradientReport(ALICE, "applied", True, 0), weights=((ALICE, 0.75), (BOB, 0.25)), version=4))
    tally.add(told(GradientReport(BOB, "kept for a step that is still to come", True, 0), version=4))
    status = tally.status()
    assert (status.version, [worker.weight for worker in status.workers]) == (4, [0.75, 0.25])


def test_outsiders_without_number_share_one_entry() -> None:
    tally = GradientTally()
    for number in range(WORKERS_MAX + 10):
        tally.add(told(GradientReport(number.to_bytes(32, "big"), "its author is no worker", False, None)))
    workers = tally.status().workers
    assert len(workers) == WORKERS_MAX + 1
    assert (workers[0].peer_id, workers[0].delivered) == ("", 10)
