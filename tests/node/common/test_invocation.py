import sys
from pathlib import Path

import pytest

from node.common.invocation import command_text


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """As if this process had been started so, in a folder with everything in it."""
    monkeypatch.setattr(sys, "orig_argv", list(words))
    monkeypatch.setattr(sys, "argv", [next(word for word in words if word.endswith((".py", "kubrat"))), "status"])


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ((".venv/bin/python", "run_node.py", "status"), ".venv/bin/python run_node.py start"),
        (("python3", "./run_node.py", "status"), "python3 ./run_node.py start"),
        (("../k/.venv/bin/python", "../k/run_node.py", "status"), "../k/.venv/bin/python ../k/run_node.py start"),
        (("{here}/.venv/bin/python", "{here}/run_node.py"), ".venv/bin/python run_node.py start"),
        (("/elsewhere/bin/python", "-P", "/elsewhere/run_node.py"), "/elsewhere/bin/python /elsewhere/run_node.py start"),
        (("{here}/.venv/bin/python", "{here}/.venv/bin/kubrat", "status"), ".venv/bin/kubrat start"),
        (("python", "somebody_elses.py"), ".venv/bin/python run_node.py start"),
    ],
)
def test_a_printed_command_begins_as_ours_was_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], printed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    called(monkeypatch, *(word.format(here=tmp_path) for word in words))
    assert command_text("start") == printed


def test_the_installed_command_on_the_path_is_printed_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kubrat").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    called(monkeypatch, "/elsewhere/bin/python", str(tmp_path / "kubrat"))
    assert command_text("start", "--data-dir", Path("my peer")) == "kubrat start --data-dir 'my peer'"
