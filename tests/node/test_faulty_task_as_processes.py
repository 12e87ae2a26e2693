"""Real peers whose task hangs, raises and gives nonsense for some candidates learn, agree, and say once what is wrong."""

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.node.real_peers import RunningPeer, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(280)]

TASK = """
import os, time, zlib
import numpy as np
from learning.task import ParameterBlock
from learning.tasks.black_box import ScoreTask

def score(parameters):
    mood = zlib.crc32(parameters.tobytes()) % 2000
    if np.abs(parameters).max() == 0:
        mood = 1999  # the first model
    if mood == 0:
        time.sleep(1000)
    if mood == 1:
        os._exit(3)
    if mood < 100:
        raise ZeroDivisionError("by zero")
    if mood < 200:
        return float("nan")
    if mood < 300:
        return 1e30
    return -float(np.square(parameters - 0.25).sum())

task = ScoreTask("moody", (ParameterBlock("point", (200,), 0),), score, bytes(32))
"""


@pytest.mark.parametrize("consensus", ["proof-of-work", "total-order"])
def test_four_peers_reach_their_goal_with_a_task_that_fails_in_every_way(tmp_path: Path, consensus: str) -> None:
    (tmp_path / "moody_for_test.py").write_text(TASK)
    arguments = ("--consensus", consensus, "--task", "moody_for_test:task", "--score-seconds", "1.5")
    goal = ("--until", "score>=-1", "--deadline", "200", "--data-dir", str(tmp_path / "net"), "--keep", "--json")
    ended = run("testnet", *arguments, *goal, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert document["agreed"] is True
    log = (tmp_path / "net" / "peer-0" / "node.log").read_text()
    assert log.count("scores raised ZeroDivisionError: by zero") == 1
    assert len(re.findall(r"scores is (nan|1e\+30), expected a finite float", log)) == 1  # the first of its kind
    assert "Traceback" not in log


def test_a_peer_says_once_what_its_task_does_wrong_counts_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "moody_alone.py").write_text(TASK.replace("mood == 0", "mood < 20"))
    made = run("init", str(tmp_path / "one"), "--task", "moody_alone:task", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    peer = RunningPeer.start(tmp_path / "one", "--score-seconds", "1", environment={"PYTHONPATH": str(tmp_path)})
    peer.wait_until(lambda status: status["task_faults"] > 20 and "took longer" in str(status["notes"]))
    lines = [line for line in peer.log.splitlines() if "such a candidate is the worst" in line]
    assert len(lines) <= 12
    assert sum("scores took longer than 1 s" in line for line in lines) == 1
    shown = run("status", "--data-dir", str(tmp_path / "one")).stdout
    assert re.search(r"task failed +[0-9,]+ times; the log says how", shown)
    family = psutil.Process(peer.process.pid).children(recursive=True)
    peer.kill()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert (len(gone) >= 2, alive) == (True, [])


FAILING_STARTS = {
    "raises": ("raise RuntimeError('no data here')", "scores raised RuntimeError: no data here"),
    "leaves": ("os._exit(5)", "scores has not come back: its process ended with exit code 5"),
}


@pytest.mark.parametrize("kind", sorted(FAILING_STARTS))
def test_a_task_that_cannot_measure_its_first_model_is_refused_at_the_start(tmp_path: Path, kind: str) -> None:
    """Where `init` was made with a sound one."""
    statement, found = FAILING_STARTS[kind]
    file = tmp_path / f"start_{kind}.py"
    file.write_text(TASK)
    made = run("init", str(tmp_path / "peer"), "--task", f"{file.stem}:task", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    file.write_text(TASK.replace("    mood = ", f"    {statement}\n    mood = ", 1))
    ended = run("start", "--data-dir", str(tmp_path / "peer"), "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert f"error: task 'moody': {found}" in ended.stderr
    assert "\nfix: mend the task" in ended.stderr
    assert "Traceback" not in ended.stderr
