""""""

import re
import sys
from pathlib import Path

import pytest

import node
from node.common.wording import agreeing, command_text, counted, duration


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


@pytest.mark.parametrize(("number", "told"), [(0, "0 peers"), (1, "1 peer"), (2, "2 peers"), (1_234, "1,234 peers")])
def test_a_count_agrees_with_its_noun(number: int, told: str) -> None:
    assert counted(number, "peer") == told


def test_verbs_agree_too() -> None:
    assert [agreeing(number, "is") for number in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (19, "19 s"), (119, "119 s"), (130, "2 min"), (7_100, "118 min"), (10_000, "2 h"), (400_000, "4 days")],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    assert duration(seconds) == told


NOUNS = "peers|members|blocks|commits|payloads|generations|steps|rounds|slots|links|connections|events|addresses"


def test_what_people_read_counts_with_one_helper() -> None:
    """Nowhere else is a figure put before a plural, which would say "1 peers" one day."""
    room = Path(node.__file__).parent
    read = [*(room / "cli").glob("*.py"), *(room / "testnet").glob("*.py"), *room.glob("*.py")]
    figure = re.compile(rf'f"[^"]*(?<!of )\{{(?!counted)[^{{}}]*\}} (?:{NOUNS})\b|%[ds] (?:{NOUNS})\b')
    found = [f"{path.name}: {line.strip()}" for path in read for line in path.read_text().splitlines() if figure.search(line)]
    assert found == []
