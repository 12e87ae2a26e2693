import pytest
from click.testing import CliRunner

from node.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nodes", "0"], "'--nodes': 0 is not in the range 1<=x<=64."),
        (["--nodes", "65"], "'--nodes': 65 is not in the range 1<=x<=64."),
        (["--until-accuracy", "90"], "'--until-accuracy': 90.0 is not in the range 0.0<=x<=1.0."),
        (["--until-accuracy", "nan"], "'--until-accuracy': 'nan' is not a number."),
        (["--deadline", "0"], "'--deadline': 0.0 is not in the range"),
        (["--consensus", "raft"], "'--consensus': 'raft' is not one of 'proof-of-work', 'total-order'."),
        (["--learning", "gradient"], 'error: --learning gradient is not available yet; allowed is "evolution"'),
        (["--network", "nowhere.toml"], "error: there is no network file nowhere.toml"),
        (["--puzzle-share", "2"], "'--puzzle-share': 2.0 is not in the range 0.05<=x<=1.0."),
    ],
)
def test_a_wrong_argument_is_told_before_anything_starts(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["testnet", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
