import pytest
from click.testing import CliRunner

from node.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["kardm"], "'kardm' is not one of 'evolution', 'kardam', 'scale', 'finality'"),
        (
            ["kardam", "--part", "attack"],
            "'attack' is not one of 'members', 'liars', 'shards', 'tasks', 'sizes', 'filters', 'dampening'",
        ),
        (["scale", "--part", "attacks"], "'attacks' is no part of scale; its parts are crowds, members"),
        (["kardam", "--seeds", "0"], "'--seeds': 0 is not in the range"),
        (["kardam", "--out", "/dev/null/tables"], "error: cannot make the folder /dev/null/tables"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["reproduce", *arguments])
    assert result.exit_code != 0
    assert told in result.stderr
