import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from learning.tasks.catalogue import built_in_task
from node.cli import main
from node.rules.network_file import read_network_file, write_network_file
from node.rules.network_rules import TaskSection, differences, network_id, rule_fields
from node.storage.folder import NodeFolder
from tests.node.example_network import example_rules

ROOT = Path(__file__).parents[3]

BROKEN_TASKS = 'raise RuntimeError("no data today")'

OWN_TASKS = """
import numpy as np
import torch
from torch import nn
from learning.task import ParameterBlock
from learning.tasks.supervised import Samples, SupervisedTask


class Valley:
    name = "valley"
    layout = (ParameterBlock("x", (3,), 1),)
    data_digest = bytes(31) + b"v"
    lowest = 0.0

    def draw_batch(self, seed):
        return np.arange(4)

    def scores(self, candidates, batch):
        return self.lowest - np.square(candidates.astype(np.float64)).sum(axis=1)

    def fitness(self, parameters, batch):
        return float(self.scores(parameters[None], batch)[0])

    def metrics(self, parameters):
        return {}


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.round()


class Rounded(nn.Linear):
    def forward(self, inputs):
        return Rounding.apply(8 * super().forward(inputs))


SAMPLES = Samples(np.eye(4, dtype=np.float32), np.arange(4))
rounded = SupervisedTask("rounded", Rounded(4, 4), "cross_entropy", SAMPLES, SAMPLES)


class Undefined(Valley):
    lowest = float("nan")


valley, undefined = Valley(), Undefined()
print("a module may print")
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)])


def test_init_makes_a_network_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "peer"
    result = run(path, "--name", "lab", "--block-interval-ms", "900")
    assert result.exit_code == 0, result.output
    with NodeFolder.open(path) as folder:
        rules, peer_id = folder.rules, folder.identity.peer_id.hex()
    assert (rules.name, rules.task.name, rules.proof_of_work.block_interval_ms) == ("lab", "digits", 900)
    assert (rules.evolution.recipe_length_max, rules.evolution.step_size_factor) == (1, "1")
    assert network_id(rules).hex() in result.stdout
    assert peer_id in result.stdout
    assert f"start --data-dir {path}\n" in result.stdout
    assert "start --network network.toml --data-dir my-peer --peer HOST:7600\n" in result.stdout


def test_two_networks_of_the_same_task_differ_in_their_seed_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(tmp_path / name).exit_code == 0
    one, two = (rule_fields(read_network_file(tmp_path / name / "network.toml")) for name in ("one", "two"))
    assert [line.split(":")[0] for line in differences(one, two)] == ["seed"]


def test_the_recombination_strategy_sets_recipe_length_and_schedule(tmp_path: Path) -> None:
    assert run(tmp_path / "peer", "--strategy", "recombination").exit_code == 0
    evolution = read_network_file(tmp_path / "peer" / "network.toml").evolution
    assert (evolution.recipe_length_max, evolution.step_size_factor) == (16, "0.995")


def test_init_joins_an_existing_network(tmp_path: Path) -> None:
    write_network_file(tmp_path / "given.toml", example_rules())
    result = run(tmp_path / "peer", "--network", tmp_path / "given.toml")
    assert result.exit_code == 0
    assert f"start --data-dir {tmp_path / 'peer'} --peer HOST:7600\n" in result.stdout
    assert read_network_file(tmp_path / "peer" / "network.toml") == example_rules()


def test_init_refuses_a_folder_that_is_in_use(tmp_path: Path) -> None:
    write_network_file(tmp_path / "given.toml", example_rules())
    arguments = (tmp_path / "peer", "--network", tmp_path / "given.toml")
    assert run(*arguments).exit_code == 0
    result = run(*arguments)
    told = f"error: {tmp_path / 'peer'} is a node's folder already, and is never overwritten\nfix: choose another folder\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--network", "nowhere.toml"], "error: there is no network file nowhere.toml\nfix: copy it from"),
        (
            ["--strategy", "coma"],
            "error: Invalid value for '--strategy': 'coma' is not one of 'joint', 'comma', 'plus', 'recombination'.",
        ),
        (["--block-interval-ms", "1"], "error: Invalid value for '--block-interval-ms': 1 is not in the range 50<=x<=3600000."),
        (["--name", "a/b"], 'error: name is "a/b"; allowed is 1 to 64 letters, digits'),
        (
            ["--network", "given.toml", "--task", "digits"],
            "error: --task is of no use with --network, whose file has all rules\n",
        ),
        (["--network", "given.toml", "--finality-depth", "9"], "error: --finality-depth is of no use with --network"),
        (["--members", "4", "--block-interval-ms", "900"], "error: --block-interval-ms is of no use in a total order"),
        (["--learning", "gradient", "--strategy", "comma"], "error: --strategy is of no use with --learning gradient\n"),
        (["--shards", "iid"], "error: --shards iid is not for evolution by proof of work, where all peers check one claim"),
        (["--members", "4", "--shards", "odd"], 'error: --shards: shards is "odd"; allowed is "whole", "iid" or'),
        (
            ["--members", "4", "--shards", "iid", "--task", "rosenbrock"],
            "error: task 'rosenbrock' has no training samples that shards could be cut from\nfix: leave --shards out\n",
        ),
        (["--tolerate", "1"], "error: --tolerate is of no use without members: add --members or --member\n"),
        (["--task", "digitz"], "error: task 'digitz' is not known (did you mean 'digits'?)"),
        (["--task", "no.such.module:task"], "error: task 'no.such.module:task': no module 'no.such.module', neither installed"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_made(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = run(tmp_path / "peer", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert told in result.stderr
    assert not (tmp_path / "peer").exists()


def test_a_library_that_a_task_needs_is_missed_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, entry = example_rules(), built_in_task("cartpole")
    assert entry is not None
    task = TaskSection(entry.name, entry.data_digest, entry.parameters)
    write_network_file(tmp_path / "given.toml", msgspec.structs.replace(rules, task=task))
    NodeFolder.create(tmp_path / "peer", msgspec.structs.replace(rules, task=task))
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    given = ("--network", str(tmp_path / "given.toml"))
    for arguments in (
        ("init", str(tmp_path / "new"), "--task", "cartpole"),
        ("init", str(tmp_path / "new"), *given),
        ("start", "--data-dir", str(tmp_path / "new"), *given),
        ("start", "--data-dir", str(tmp_path / "peer")),
        ("testnet", "--task", "cartpole", "--data-dir", str(tmp_path / "net")),
        ("testnet", *given, "--data-dir", str(tmp_path / "net")),
    ):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        assert result.stderr.startswith("error: task 'cartpole' needs gymnasium, which is not installed\nfix: "), arguments
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("digits-cnn", "digits-cnn"),
        ("my_task:task", "my_task"),
        ("labs.wine:task", "wine"),
        ("_private:task", "private"),
        ("m" * 99 + ":task", "m" * 64),
        ("_:task", "network"),
    ],
)
def test_a_network_is_called_after_its_task_or_the_module_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str, name: str
) -> None:
    def section(name: str, *_: object, needs_gradient: bool, needs_samples: bool) -> TaskSection:
        return TaskSection(name, "00" * 32, 3)

    monkeypatch.setattr("node.cli.learning_options.task_section", section)
    result = run(tmp_path / "peer", "--task", task)
    assert result.exit_code == 0, result.stderr
    assert read_network_file(tmp_path / "peer" / "network.toml").name == name


def test_a_user_s_own_task_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tasks.py").write_text(OWN_TASKS)
    (tmp_path / "node.py").write_text("raise RuntimeError('a file of that name is nothing to us')")
    monkeypatch.chdir(tmp_path)
    assert run("peer", "--task", "own_tasks:valley").exit_code == 0
    rules = read_network_file(tmp_path / "peer" / "network.toml")
    assert (rules.name, rules.task) == ("own_tasks", TaskSection("own_tasks:valley", "00" * 31 + "76", 3))
    assert "own_tasks" not in sys.modules


def test_who_evolves_is_not_asked_for_a_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tasks.py").write_text(OWN_TASKS)
    monkeypatch.chdir(tmp_path)
    assert run("evolves", "--task", "own_tasks:rounded").exit_code == 0
    result = run("descends", "--task", "own_tasks:rounded", "--learning", "gradient")
    assert (result.exit_code, (tmp_path / "descends").exists()) == (2, False)
    assert "its loss cannot be differentiated" in result.stderr


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("broken_tasks:mine", "importing 'broken_tasks' raised RuntimeError: no data today"),
        ("own_tasks:undefined", "task 'valley': scores of a first model is nan, expected a finite number"),
        ("own_tasks:missing", "has no attribute 'missing'"),
    ],
)
def test_a_user_s_task_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], task: str, told: str
) -> None:
    (tmp_path / "broken_tasks.py").write_text(BROKEN_TASKS)
    (tmp_path / "own_tasks.py").write_text(OWN_TASKS)
    monkeypatch.chdir(tmp_path)
    result = run("peer", "--task", task)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(rf"error: .*{re.escape(told)}\nfix: .*\n", result.stderr)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "peer").exists()


@pytest.mark.slow
def test_what_init_and_status_print_to_type_is_understood_as_it_stands(tmp_path: Path) -> None:
    """By a shell, in the same folder, with a name that needs quotes."""

    def typed(words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False)

    ours = shlex.join([sys.executable, str(ROOT / "run_node.py")])
    printed = [
        *typed(f"{ours} init 'my peer'").stdout.splitlines(),
        *typed(f"{ours} init net --members 4").stdout.splitlines(),
        *typed(f"{ours} status --data-dir 'my peer'").stderr.splitlines(),
        *typed(f"{ours} status --data-dir pear").stderr.splitlines(),
        *typed(f"{ours} strat").stderr.splitlines(),
    ]
    commands = [line.partition(ours)[2] for line in printed if ours in line]
    assert len(commands) == 6
    for command in commands:
        done = typed(f"{ours}{command} --help")  # options and arguments are looked at before help is given
        assert (done.returncode, done.stderr) == (0, ""), command
