import json
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.proof_of_work.rules import ChainRules
from learning.evolution.rules import EvolutionRules, Strategy
from learning.gradient.rules import GradientRules
from node.common.errors import NodeError
from node.rules.network_file import network_text, new_rules, parse_network_text, read_network_file, write_network_file
from node.rules.network_rules import (
    Consensus,
    Learning,
    NetworkRules,
    TaskSection,
    TotalOrderSection,
    differences,
    network_id,
    network_id_of_fields,
    rule_fields,
)
from node.rules.typed_toml import TomlProblem
from tests.node.example_network import example_rules

NETWORKS = Path(__file__).parents[2] / "vectors" / "network_ids.json"

decimals = st.integers(min_value=1, max_value=99_999).map(lambda digits: format(digits / 100_000, ".5f").rstrip("0"))


@st.composite
def rules_strategy(draw: st.DrawFn) -> NetworkRules:
    finality_depth = draw(st.integers(min_value=2, max_value=512))
    keys = tuple(key.hex() for key in draw(st.lists(st.binary(min_size=32, max_size=32), max_size=5, unique=True)))
    step_size = draw(decimals)
    return NetworkRules(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}", fullmatch=True)),
        seed=draw(st.binary(min_size=32, max_size=32)).hex(),
        consensus=Consensus.TOTAL_ORDER if keys else Consensus.PROOF_OF_WORK,
        learning=example_rules().learning,
        task=TaskSection(
            draw(st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True)),
            draw(st.binary(min_size=32, max_size=32)).hex(),
            draw(st.integers(min_value=1, max_value=10**9)),
        ),
        evolution=EvolutionRules(
            offspring=draw(st.integers(min_value=2, max_value=65_536)),
            step_size=step_size,
            step_size_floor=step_size,
            regression_allowed=draw(st.integers(min_value=-1, max_value=10**12)),
        ),
        proof_of_work=ChainRules(
            finality_depth=finality_depth,
            contest_depth=draw(st.integers(min_value=1, max_value=finality_depth - 1)),
        ),
        total_order=TotalOrderSection(members=keys),
    )


@given(rules=rules_strategy())
def test_what_is_written_reads_back_the_same(rules: NetworkRules) -> None:
    assert parse_network_text(network_text(rules)) == rules


@given(one=rules_strategy(), other=rules_strategy())
def test_two_networks_have_one_id_exactly_when_no_field_differs(one: NetworkRules, other: NetworkRules) -> None:
    assert (network_id(one) == network_id(other)) == (differences(rule_fields(one), rule_fields(other)) == ())


def test_the_id_of_known_rules_never_changes() -> None:
    assert network_id(example_rules()).hex() == "fcf5c907bdf74db1e5003fb8d09e7988157e772c93d2cb8eb3b36da58c74f93c"


@pytest.mark.parametrize("network", json.loads(NETWORKS.read_text()), ids=lambda network: network["id"][:8])
def test_the_ids_of_known_files_never_change(network: dict[str, str]) -> None:
    """Of all modes, with each number at the ends of its range."""
    rules = parse_network_text(network["file"])
    assert network_id(rules).hex() == network["id"]
    assert parse_network_text(network_text(rules)) == rules


def test_the_id_can_be_computed_from_the_fields_alone() -> None:
    assert network_id_of_fields(rule_fields(example_rules())) == network_id(example_rules())


def test_the_file_s_order_comments_and_spelling_of_decimals_do_not_change_the_id() -> None:
    rules = example_rules()
    text = network_text(rules).replace('step_size = "0.03"', "step_size = 0.0300  # the same")
    sections = text.split("\n[")
    reordered = "\n[".join([sections[0], *reversed(sections[1:])])
    assert network_id(parse_network_text(reordered)) == network_id(rules)


def test_fields_are_flat_and_in_the_file_s_order() -> None:
    fields = rule_fields(example_rules())
    assert fields[0] == ("name", "example")
    assert ("evolution.step_size", "0.03") in fields
    assert fields[-1] == ("total_order.delta_ms_max", "10000")
    assert len(fields) == 4 + 3 + 7 + 9 + 7 + 6


def test_differences_name_both_values() -> None:
    ours = rule_fields(example_rules())
    theirs = (*rule_fields(example_rules(block_interval_ms=800))[:-1], ("novelty", "1"))
    assert differences(ours, theirs) == (
        "novelty: ours missing, theirs 1",
        "proof_of_work.block_interval_ms: ours 500, theirs 800",
        "total_order.delta_ms_max: ours 10000, theirs missing",
    )


def test_absent_sections_have_the_default_rules() -> None:
    rules = msgspec.structs.replace(example_rules(), proof_of_work=ChainRules())
    text = network_text(rules)
    assert parse_network_text(text[: text.index("[evolution]")]) == rules


def test_strategies_differ_in_their_name_and_their_measured_settings_alone() -> None:
    task = TaskSection("digits", "ab" * 32, 4810)
    plus = new_rules("x", bytes(32), task, Strategy.PLUS)
    networks = {strategy: new_rules("x", bytes(32), task, strategy) for strategy in Strategy}
    changed = {
        strategy: {line.partition(":")[0] for line in differences(rule_fields(plus), rule_fields(network))}
        for strategy, network in networks.items()
    }
    name = "evolution.strategy"
    assert changed == {
        Strategy.PLUS: set(),
        Strategy.COMMA: {name, "evolution.regression_allowed"},
        Strategy.RECOMBINATION: {name, "evolution.recipe_length_max", "evolution.step_size_factor"},
        Strategy.JOINT: {name, "evolution.step_size_factor", "evolution.step_size_floor"},
    }


def test_a_file_from_before_there_were_strategies_means_what_it_meant() -> None:
    text = network_text(example_rules())
    assert 'strategy = "plus"' in text
    older = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("strategy"))
    assert network_id(parse_network_text(older)) == network_id(example_rules())


def test_members_who_learn_by_evolution_may_have_shards_and_a_file_without_them_means_what_it_meant() -> None:
    task, keys = TaskSection("digits", "ab" * 32, 4810), ("01" * 32, "02" * 32)
    whole, shared = (
        new_rules("x", bytes(32), task, Strategy.JOINT, members=keys, shards=shards) for shards in ("whole", "dirichlet:0.50")
    )
    assert shared.evolution.shards == "dirichlet:0.5"
    assert differences(rule_fields(whole), rule_fields(shared)) == ("evolution.shards: ours missing, theirs dirichlet:0.5",)
    text = network_text(whole)
    assert text.count('shards = "whole"\n') == 1
    assert network_id(parse_network_text(text.replace('shards = "whole"\n', ""))) == network_id(whole)


def test_a_name_that_is_not_allowed_is_refused_when_a_network_is_made() -> None:
    with pytest.raises(NodeError, match=r'name is "a/b"; allowed is 1 to 64 letters'):
        new_rules("a/b", bytes(32), TaskSection("digits", "ab" * 32, 4810), Strategy.PLUS)


@dataclass(frozen=True)
class Mistake:
    """Replace `right` by `wrong` in a good file: the message must hold `told`."""

    right: str
    wrong: str
    told: str


MISTAKES = [
    Mistake("offspring = 64", "offspring = 0", "evolution.offspring is 0; allowed is a whole number from 2 to 65,536"),
    Mistake("offspring = 64", "offspring = 65537", "evolution.offspring is 65537; allowed is a whole number from 2 to 65,536"),
    Mistake("offspring = 64", 'offspring = "many"', 'evolution.offspring is "many"; allowed is a whole number'),
    Mistake("offspring = 64", "offspring = true", "evolution.offspring is true; allowed is a whole number"),
    Mistake("offspring = 64", "offspring = 64.0", 'evolution.offspring is "64.0"; allowed is a whole number'),
    Mistake("offspring = 64", "ofspring = 64", "evolution.ofspring is not a setting (did you mean evolution.offspring?)"),
    Mistake("[evolution]", "[evolutoin]", "evolutoin is not a setting (did you mean evolution?)"),
    Mistake("parameters = 4810", "zzz = 1", "task.zzz is not a setting (known here: name, data_digest, parameters)"),
    Mistake("parameters = 4810", "", "task.parameters is missing; allowed is a whole number from 1 to 1,000,000,000"),
    Mistake('name = "example"', "", "name is missing; allowed is 1 to 64 letters"),
    Mistake('name = "digits"', 'name = "rm -rf"', 'task.name is "rm -rf"; allowed is the name of a built-in task'),
    Mistake('seed = "07', 'seed = "x7', 'seed is "x7'),
    Mistake('data_digest = "ab', 'data_digest = "', "task.data_digest is"),
    Mistake('"0.03"', '"-0.03"', 'evolution.step_size is "-0.03"; allowed is a decimal number'),
    Mistake('"0.03"', "nan", 'evolution.step_size is "nan"; allowed is a decimal number'),
    Mistake('"0.03"', '"11"', 'evolution.step_size is "11"; allowed is 0.000000000001 to 10'),
    Mistake('"0.998"', '"1.1"', 'evolution.step_size_factor is "1.1"; allowed is 0.5 to 1'),
    Mistake('"0.003"', '"0.04"', 'evolution.step_size_floor is "0.04"; allowed is 0.000000000001 to 0.03'),
    Mistake("contest_depth = 6", "contest_depth = 16", "proof_of_work.contest_depth is 16; allowed is 1 to 15"),
    Mistake(
        '"proof-of-work"', '"proof-of-wokr"', 'consensus is "proof-of-wokr"; allowed is one of "proof-of-work", "total-order"'
    ),
    Mistake('"proof-of-work"', '"total-order"', "total_order.members is empty; allowed is a list of at least one public key"),
    Mistake("members = []", f'members = ["{"ab" * 32}"]', 'allowed is none where consensus is "proof-of-work"'),
    Mistake("members = []", 'members = ["ABC"]', "total_order.members[0] is 'ABC'; allowed is a public key"),
    Mistake(
        "members = []", f'members = ["{"ab" * 32}", "{"ab" * 32}"]', "the same key as members[0]; allowed is each key once"
    ),
    Mistake("members = []", "members = [7]", "total_order.members is [7]; allowed is a list of up to 200 public keys"),
    Mistake("idle_interval_ms = 1000", "idle_interval_ms = 1", "total_order.idle_interval_ms is 1; allowed is"),
    Mistake(
        "delta_ms_max = 10000", "delta_ms_max = 100", "total_order.delta_ms_min is 250; allowed is 1 to delta_ms_max (100)"
    ),
    Mistake('"evolution"', '"gradient"', "gradient.shard_count is 0; allowed is 1 or more under proof of work"),
    Mistake("minibatch_size = 32", "minibatch_size = 0", "gradient.minibatch_size is 0; allowed is a whole number from 1 to"),
    Mistake(
        'shards = "whole"',
        'shards = "iid"',
        'evolution.shards is "iid"; allowed is "whole" under proof of work, where all peers check one claim',
    ),
    Mistake('shards = "whole"', 'shards = "w"', 'evolution.shards is "w"; allowed is "whole", "iid" or "dirichlet:ALPHA"'),
    Mistake(
        'shards = "iid"', 'shards = "uneven"', 'gradient.shards is "uneven"; allowed is "whole", "iid" or "dirichlet:ALPHA"'
    ),
    Mistake('rule = "robust"', 'rule = "robuts"', 'gradient.rule: there is no rule "robuts", allowed robust, mean'),
    Mistake('rule = "robust"', 'rule = "a\\nb"', 'gradient.rule: there is no rule "a\N{REPLACEMENT CHARACTER}b"'),
    Mistake("[evolution]", "[evolution", "not valid TOML: line 37, column 11: expected ']'"),
    Mistake("[evolution]", "[task]", "not valid TOML: line 37, column 6: cannot declare ('task',) twice"),
    Mistake("offspring = 64", "offspring = " + "[" * 5_000, "not valid TOML"),
    Mistake("offspring = 64", f"offspring = {'9' * 5_000}", "not valid TOML: a whole number has thousands of digits"),
    Mistake("offspring = 64", f"offspring = 0x{'f' * 5_000}", "evolution.offspring is a whole number of thousands of digits"),
    Mistake("offspring = 64", '"a`b\\n" = 64', "is not a setting (known here: offspring"),
]


GRADIENT_MISTAKES = [
    Mistake("bits = 16", "bits = 12", "gradient.bits is 12; allowed is 8 or 16"),
    Mistake('learning_rate = "2"', 'learning_rate = "0"', 'gradient.learning_rate is "0"; allowed is above 0, up to 100'),
    Mistake('momentum = "0.9"', 'momentum = "1"', 'gradient.momentum is "1"; allowed is 0 or more, below 1'),
    Mistake(
        '"iid"', '"dirichlet:0.001"', 'gradient.shards is "dirichlet:0.001"; allowed is "whole", "iid" or "dirichlet:ALPHA"'
    ),
    Mistake("shard_count = 4", "shard_count = 0", "gradient.shard_count is 0; allowed is 1 or more under proof of work"),
    Mistake('"kardam', '"kardamm', 'gradient.rule: there is no rule "kardamm"'),
    Mistake("frequency=off", "frequency=maybe", "gradient.rule: "),
]


@pytest.mark.parametrize("mistake", GRADIENT_MISTAKES, ids=lambda mistake: mistake.told[:50])
def test_a_mistake_about_gradients_is_told_with_field_value_and_range(mistake: Mistake) -> None:
    section = GradientRules(rule="kardam:frequency=off", shard_count=4)
    text = network_text(msgspec.structs.replace(example_rules(), learning=Learning.GRADIENT, gradient=section))
    parse_network_text(text)
    assert mistake.right in text
    with pytest.raises(TomlProblem, match=re.escape(mistake.told)):
        parse_network_text(text.replace(mistake.right, mistake.wrong, 1))


def test_a_rule_that_is_spelled_otherwise_is_the_same_network() -> None:
    section = GradientRules(rule="kardam:frequency=off", shard_count=4)
    rules = parse_network_text(
        network_text(msgspec.structs.replace(example_rules(), learning=Learning.GRADIENT, gradient=section))
    )
    respelled = network_text(rules).replace(f'"{rules.gradient.rule}"', '"kardam:alpha=0.20,frequency=off"')
    assert respelled != network_text(rules)
    assert network_id(parse_network_text(respelled)) == network_id(rules)


def test_shares_of_samples_that_are_spelled_otherwise_are_the_same_network() -> None:
    ids = set()
    for shards in ("dirichlet:0.5", "dirichlet:0.50", "dirichlet:000.5"):
        section = GradientRules(shards=shards, shard_count=4)
        rules = msgspec.structs.replace(example_rules(), learning=Learning.GRADIENT, gradient=section)
        ids.add(network_id(parse_network_text(network_text(rules))))
    assert len(ids) == 1


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.told[:50])
def test_a_mistake_in_the_file_is_told_with_file_field_value_and_range(tmp_path: Path, mistake: Mistake) -> None:
    path = tmp_path / "network.toml"
    text = network_text(example_rules())
    assert mistake.right in text
    path.write_text(text.replace(mistake.right, mistake.wrong, 1))
    with pytest.raises(NodeError, match=re.escape(mistake.told)) as caught:
        read_network_file(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message


@given(text=st.text(max_size=200))
def test_no_text_at_all_makes_the_reader_fail_in_another_way(text: str) -> None:
    with pytest.raises(TomlProblem):
        parse_network_text(text)


values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=2))


@given(place=st.sampled_from(list(rule_fields(example_rules()))), value=values)
def test_any_value_at_any_place_is_read_or_refused_by_name(place: tuple[str, str], value: object) -> None:
    path, _ = place
    name = path.rpartition(".")[2]
    literal = msgspec.json.encode(value).decode()
    text = re.sub(
        rf"^{name} = .*$", lambda _: f"{name} = {literal}", network_text(example_rules()), count=1, flags=re.MULTILINE
    )
    told = _problem_of(text)
    assert told is None or name in told or "not valid TOML" in told


def _problem_of(text: str) -> str | None:
    try:
        parse_network_text(text)
    except TomlProblem as problem:
        return str(problem)
    return None


def test_a_missing_file_is_told_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="there is no network file") as caught:
        read_network_file(tmp_path / "network.toml")
    assert caught.value.fix == (
        "copy it from another peer of the network, or make a new network: .venv/bin/python run_node.py init my-peer"
    )


def test_a_folder_a_binary_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    binary, huge = tmp_path / "binary", tmp_path / "huge"
    binary.write_bytes(b"name = \xff")
    huge.write_bytes(b"#" * 100_000)
    for path, told in ((tmp_path, "it is a folder"), (binary, "byte 7 is not UTF-8"), (huge, "more than 65,536 bytes")):
        with pytest.raises(NodeError, match=told):
            read_network_file(path)


def test_a_network_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    write_network_file(path, example_rules())
    with pytest.raises(NodeError, match="is never overwritten"):
        write_network_file(path, example_rules(seed=8))
    assert read_network_file(path) == example_rules()
