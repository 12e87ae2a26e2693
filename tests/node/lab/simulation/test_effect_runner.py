"""A simulated shell: what is durable before what, what a kill leaves, and whose clock it is."""

from consensus.effects import Guard, Record, Send, SetTimer, SolvePuzzle, VerifyPuzzle
from consensus.protocol import PuzzleVerified
from consensus.types import Instant, StepId
from learning.learner import AdoptRequest
from node.lab.simulation.links import ConstantLatency, Links
from node.lab.simulation.processes import SOLVING_MS_MAX
from node.runtime.coupling import AskLearner, Forget
from tests.node.lab.simulation.puppet import START, IdleLearner, Stage

LINKS = Links(latency=ConstantLatency(10), disk_ms=5)
TARGET = 2**256 // 10 - 1


def record(key: bytes, value: bytes = b"value") -> Record:
    return Record("table", key, value)


def test_nothing_that_follows_a_record_happens_before_it_is_durable() -> None:
    stage = Stage(2, LINKS)
    stage.tell(0, record(b"a"), record(b"b"), Send(stage.ids[1], b"after"), record(b"c"), Send(stage.ids[1], b"later"))
    stage.network.run_for(4)
    assert stage.peer(0).records == {}
    stage.network.run_for(1)
    assert sorted(stage.peer(0).records) == [("table", b"a"), ("table", b"b")]
    stage.network.run_for(100)
    assert stage.puppet(1).messages == [(5 + 10, b"after"), (5 + 5 + 10, b"later")]


def test_a_crash_leaves_a_batch_whole_or_not_at_all_and_nothing_after_it_is_sent() -> None:
    left = set()
    for seed in range(20):
        stage = Stage(2, LINKS, seed)
        stage.tell(0, record(b"a"), record(b"b"), Send(stage.ids[1], b"after"))
        stage.network.run_for(3)
        stage.network.crash(stage.ids[0])
        stage.network.run_for(100)
        left.add(tuple(sorted(key for _, key in stage.peer(0).records)))
        assert stage.puppet(1).messages == []
    assert left == {(), (b"a", b"b")}


def test_a_guard_is_durable_by_itself_and_survives_the_loss_of_all_rows() -> None:
    stage = Stage(2, LINKS)
    stage.tell(0, Guard(7), record(b"a"), Send(stage.ids[1], b"signed"))
    stage.network.run_for(100)
    assert stage.puppet(1).messages == [(15, b"signed")]
    stage.network.wipe(stage.ids[0])
    assert (stage.peer(0).guard_round, stage.peer(0).records) == (7, {})


def test_a_forgotten_row_is_gone() -> None:
    stage = Stage(1, LINKS)
    stage.tell(0, record(b"a"), Forget("table", b"a"), record(b"b"))
    stage.network.run_for(10)
    assert list(stage.peer(0).records) == [("table", b"b")]


def test_a_full_disk_ends_the_process_and_room_lets_it_start_again() -> None:
    stage = Stage(2, LINKS)
    stage.network.fill_disk(stage.ids[0])
    stage.tell(0, record(b"a"), Send(stage.ids[1], b"never"))
    stage.network.run_for(100)
    assert (stage.peer(0).is_up, stage.peer(0).stopped, stage.peer(0).records) == (False, "the disk is full", {})
    stage.network.restart(stage.ids[0])
    stage.tell(0, record(b"b"))
    stage.network.run_for(100)
    assert (stage.peer(0).is_up, list(stage.peer(0).records)) == (True, [("table", b"b")])
    assert stage.puppet(1).messages == []


def test_a_kill_cuts_the_effects_at_its_boundary() -> None:
    for boundary in range(6):
        stage = Stage(2, LINKS)
        stage.network.kill_at(stage.ids[0], boundary)
        sends = tuple(Send(stage.ids[1], b"%d" % number) for number in range(5))
        stage.tell(0, *sends)
        stage.network.run_for(100)
        assert (stage.peer(0).is_up, stage.peer(0).effects_done) == (boundary > 4, boundary)
        assert [message for _, message in stage.puppet(1).messages] == [b"%d" % number for number in range(boundary)]


def test_a_kill_within_a_batch_leaves_all_of_it_or_nothing() -> None:
    left = set()
    for seed in range(20):
        stage = Stage(1, LINKS, seed)
        stage.network.kill_at(stage.ids[0], 2)
        stage.tell(0, *(record(b"%d" % number) for number in range(4)))
        stage.network.run_for(100)
        assert not stage.peer(0).is_up
        left.add(len(stage.peer(0).records))
    assert left == {0, 4}


def test_a_lying_disk_loses_its_newest_rows_in_a_crash() -> None:
    stage = Stage(1, LINKS)
    stage.network.lie_about_syncing(stage.ids[0], 1_000)
    for number in range(4):
        stage.tell(0, record(b"%d" % number), record(b"last", b"%d" % number))
        stage.network.run_for(600)
    stage.network.crash(stage.ids[0])
    assert stage.peer(0).records == {
        ("table", b"0"): b"value",
        ("table", b"1"): b"value",
        ("table", b"2"): b"value",
        ("table", b"last"): b"2",
    }


def test_an_old_disk_takes_the_place_of_the_newer_one() -> None:
    stage = Stage(1, LINKS)
    stage.tell(0, record(b"old"))
    stage.network.run_for(10)
    stage.network.back_up(stage.ids[0])
    stage.tell(0, record(b"new"), Forget("table", b"old"))
    stage.network.run_for(10)
    stage.network.restore_backup(stage.ids[0])
    assert (stage.peer(0).is_up, list(stage.peer(0).records)) == (False, [("table", b"old")])


def test_a_wrong_clock_is_what_its_peer_sees_and_a_timer_runs_for_the_time_that_it_is_set_for() -> None:
    stage = Stage(2, LINKS)
    stage.network.set_clock(stage.ids[0], offset_ms=-3_000, drift_ppm=1_000)
    stage.network.run_for(10_000)
    stage.tell(1, Send(stage.ids[0], b"what time is it?"))
    stage.network.run_for(10)
    ((at, _),) = stage.puppet(0).messages
    assert at == 10_010 + 10
    assert "ClockRead" in stage.puppet(0).kinds()
    stage.tell(0, SetTimer("in half a second", Instant(START + at + 500)))
    stage.network.run_for(499)
    assert "TimerFired" not in stage.puppet(0).kinds()
    stage.network.run_for(1)
    assert "TimerFired" in stage.puppet(0).kinds()


def test_a_timer_of_one_name_replaces_the_one_before() -> None:
    stage = Stage(1, LINKS)
    stage.tell(0, SetTimer("tick", Instant(START + 50)), SetTimer("tick", Instant(START + 80)))
    stage.network.run_for(200)
    assert [at for at, _ in stage.puppet(0).heard] == [80]


def test_a_solution_that_nobody_has_worked_for_is_none() -> None:
    stage = Stage(1, Links(attempts_per_second=1_000.0))
    stage.tell(0, SolvePuzzle(b"prefix", TARGET))
    stage.network.run_for(1_000)
    ((_, solved),) = stage.puppet(0).heard
    claims = [(b"prefix", solved.nonce, TARGET), (b"prefix", solved.nonce + 1, TARGET), (b"other", solved.nonce, TARGET)]
    harder = (b"prefix", solved.nonce, TARGET // 2)
    for number, (prefix, nonce, target) in enumerate((*claims, harder)):
        stage.tell(0, VerifyPuzzle(StepId(b"%d" % number), prefix, nonce, target))
    stage.network.run_for(100)
    verified = [event.is_solved for _, event in stage.puppet(0).heard if isinstance(event, PuzzleVerified)]
    assert verified == [True, False, False, False]


def test_a_puzzle_takes_the_attempts_of_its_target_on_average() -> None:
    stage = Stage(1, Links(attempts_per_second=10.0))
    for number in range(300):
        stage.tell(0, SolvePuzzle(b"%d" % number, TARGET))
        while stage.peer(0).puzzle is not None:
            stage.network.run_for(100)
    mean_ms = (stage.network.now - START) / 300
    assert 850 < mean_ms < 1_250, "ten attempts, ten a second"


def test_a_puzzle_that_takes_longer_than_is_planned_ahead_takes_its_attempts_all_the_same() -> None:
    stage = Stage(1, Links(attempts_per_second=0.5))
    for number in range(300):
        stage.tell(0, SolvePuzzle(b"%d" % number, TARGET))
        while stage.peer(0).puzzle is not None:
            stage.network.run_for(100)
    mean_ms = (stage.network.now - START) / 300
    assert 3 * SOLVING_MS_MAX < 17_000 < mean_ms < 23_500, "ten attempts, one in two seconds"


def test_a_learner_answers_one_request_after_the_other() -> None:
    asked = []

    class Clerk(IdleLearner):
        def handle(self, request):
            asked.append(stage.network.now - START)
            return ()

    stage = Stage(1, Links(answer_ms=30))
    stage.peer(0).learner = Clerk()
    stage.tell(0, *(AskLearner(AdoptRequest(b"%d" % number)) for number in range(3)))
    stage.network.run_for(50)
    stage.tell(0, AskLearner(AdoptRequest(b"3")))
    stage.network.run_for(100)
    assert asked == [30, 60, 90, 120]
