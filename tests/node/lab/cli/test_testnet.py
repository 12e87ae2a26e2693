import pytest
from click.testing import CliRunner

from node.cli import main
from node.lab.faults.catalogue import FAULTS, Family
from node.lab.testnet.settings import TestnetSettings


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nodes", "0"], "'--nodes': 0 is not in the range 1<=x<=64."),
        (["--nodes", "65"], "'--nodes': 65 is not in the range 1<=x<=64."),
        (["--until-accuracy", "90"], "'--until-accuracy': 90.0 is not in the range 0.0<=x<=1.0."),
        (["--until-accuracy", "nan"], "'--until-accuracy': 'nan' is not a number."),
        (["--until", "fitness"], "'--until': goal is 'fitness'; allowed is METRIC>=VALUE or METRIC<=VALUE, in quotes"),
        (["--until", "fitness>=1", "--until-accuracy", "0.5"], "--until-accuracy"),
        (["--deadline", "0"], "'--deadline': 0.0 is not in the range"),
        (["--consensus", "raft"], "'--consensus': 'raft' is not one of 'proof-of-work', 'total-order'."),
        (["--learning", "gradient", "--rule", "men"], 'error: --rule: there is no rule "men", allowed '),
        (["--rule", "mean"], "error: --rule is of no use with --learning evolution"),
        (["--shards", "dirichlet:0.50"], "error: --shards dirichlet:0.5 is not for evolution by proof of work, where all"),
        (["--learning", "gradient", "--shards", "odd"], 'error: --shards: shards is "odd"; allowed is "whole", "iid" or'),
        (["--faulty", "1"], "error: --faulty K and --fault NAME belong together"),
        (["--faulty", "4", "--fault", "nan"], "error: --faulty is 4, allowed: 1 to 3, so that somebody is honest"),
        (["--faulty", "1", "--fault", "sign-flop"], "error: --fault: there is no fault 'sign-flop': did you mean 'sign-flip'"),
        (["--faulty", "1", "--fault", "nan"], "error: the fault 'nan' is one of gradient learning"),
        (["--network", "nowhere.toml"], "error: there is no network file nowhere.toml"),
        (["--network", "nowhere.toml", "--consensus", "total-order"], "error: --consensus is of no use with --network"),
        (["--learning", "gradient", "--strategy", "comma"], "error: --strategy is of no use with --learning gradient"),
        (["--puzzle-share", "2"], "'--puzzle-share': 2.0 is not in the range 0.05<=x<=1.0."),
    ],
)
def test_a_wrong_argument_is_told_before_anything_starts(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["testnet", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_all_faults_are_listed_with_what_they_do() -> None:
    result = CliRunner().invoke(main, ["testnet", "--list-faults"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["gradient:", "consensus:", "evolution:", "network:"]
    listed = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert list(listed) == [fault.name for family in Family for fault in FAULTS if fault.family is family]
    assert all(fault.description in listed[fault.name] for fault in FAULTS)
    assert listed["sign-flip"].endswith("(scale=1)")


@pytest.mark.parametrize(
    ("arguments", "deadline_s"),
    [([], 300.0), (["--until-interrupted"], 86_400.0), (["--until-interrupted", "--deadline", "60"], 60.0)],
)
def test_a_testnet_until_interrupted_does_not_end_by_itself_after_minutes(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], deadline_s: float
) -> None:
    runs: list[TestnetSettings] = []

    def run(settings: TestnetSettings) -> int:
        runs.append(settings)
        return 0

    monkeypatch.setattr("node.lab.testnet.supervisor.run_testnet", run)
    assert CliRunner().invoke(main, ["testnet", *arguments]).exit_code == 0
    assert [settings.deadline_s for settings in runs] == [deadline_s]
