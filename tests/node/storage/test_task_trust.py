"""A network file from elsewhere runs no code here until its task was named here, too."""

import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.common.errors import NodeError
from node.lab.store_audit.__main__ import command as autopsy
from node.rules.network_file import write_network_file
from node.rules.network_rules import NetworkRules, TaskSection
from node.storage.folder import NodeFolder
from node.storage.task_trust import check_named, check_trust
from tests.node.example_network import example_rules

FIX = "if you know this code and want to run it, add {option} {name}"


def rules_of(task: str, seed: int = 7) -> NetworkRules:
    return msgspec.structs.replace(example_rules(seed), task=TaskSection(task, "ab" * 32, 3))


def told(error: pytest.ExceptionInfo[NodeError]) -> tuple[str, str | None]:
    return error.value.message, error.value.fix


def refusal(name: str, option: str = "--trust-task", *, otherwise: str = "") -> tuple[str, str]:
    message = f"the network's task is {name!r}, which is not built in{otherwise}: taking part runs the code of that module here"
    return message, FIX.format(option=option, name=name)


def start(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["start", *map(str, arguments)])


@pytest.fixture
def marked_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a module leaves behind once it is imported."""
    mark = tmp_path / "it-ran"
    (tmp_path / "module_of_an_outsider.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return mark


@pytest.mark.parametrize("name", ["os:abort", "module_of_an_outsider:task"])
@pytest.mark.parametrize("named", ["", "my_task:task", "digits"])
def test_start_imports_no_task_of_a_given_file_and_makes_nothing(
    tmp_path: Path, marked_module: Path, name: str, named: str
) -> None:
    write_network_file(tmp_path / "network.toml", rules_of(name))
    result = start("--network", tmp_path / "network.toml", "--data-dir", tmp_path / "peer", "--trust-task", named)
    message, fix = refusal(name, otherwise=f", and --trust-task names {named!r}" if named == "my_task:task" else "")
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\nfix: {fix}\n")
    assert not marked_module.exists()
    assert not (tmp_path / "peer").exists()


def test_start_asks_for_a_folder_that_was_made_elsewhere_too(tmp_path: Path, marked_module: Path) -> None:
    NodeFolder.create(tmp_path / "peer", rules_of("module_of_an_outsider:task"))
    result = start("--data-dir", tmp_path / "peer")
    assert (result.exit_code, refusal("module_of_an_outsider:task")[0] in result.stderr) == (2, True)
    assert not marked_module.exists()


def test_what_was_named_once_is_remembered_for_this_folder_and_network(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 8)):
        NodeFolder.create(tmp_path / name, rules_of("my_task:task", seed))
    with NodeFolder.open(tmp_path / "one") as folder:
        with pytest.raises(NodeError) as error:
            check_trust(folder, "")
        assert told(error) == refusal("my_task:task")
        check_trust(folder, "my_task:task")
    with NodeFolder.open(tmp_path / "one") as folder:
        check_trust(folder, "")
        memory = folder.store.meta("trusted_task")
        assert memory is not None
    with NodeFolder.open(tmp_path / "two") as folder:
        folder.store.set_meta("trusted_task", memory)  # the memory of another network
        with pytest.raises(NodeError):
            check_trust(folder, "")


def test_a_built_in_task_needs_no_word(tmp_path: Path) -> None:
    NodeFolder.create(tmp_path / "peer", example_rules())
    with NodeFolder.open(tmp_path / "peer") as folder:
        check_trust(folder, "")
        check_trust(folder, "my_task:task")
        assert folder.store.meta("trusted_task") is None


def test_a_testnet_runs_a_file_s_task_only_by_its_name(tmp_path: Path, marked_module: Path) -> None:
    write_network_file(tmp_path / "network.toml", rules_of("module_of_an_outsider:task"))
    result = CliRunner().invoke(main, ["testnet", "--network", str(tmp_path / "network.toml")])
    message, fix = refusal("module_of_an_outsider:task", "--task")
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\nfix: {fix}\n")
    assert not marked_module.exists()
    check_named(rules_of("module_of_an_outsider:task"), "module_of_an_outsider:task", "--task")


def test_a_kept_testnet_of_somebody_else_is_read_without_its_code(tmp_path: Path, marked_module: Path) -> None:
    rules = rules_of("module_of_an_outsider:task")
    write_network_file(tmp_path / "network.toml", rules)
    NodeFolder.create(tmp_path / "peer-0", rules)
    result = CliRunner().invoke(autopsy, [str(tmp_path)])
    message, fix = refusal("module_of_an_outsider:task")
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\nfix: {fix}\n")
    assert not marked_module.exists()
