"""Rules as text: what is canonical, and what a person is told who mistypes."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.aggregation.basgd import Aggregate, Buffered
from learning.aggregation.catalogue import RULES, RuleError, rule_named, rule_text
from learning.aggregation.kardam import Kardam
from learning.aggregation.single_steps import Dampened, Dampening, Mean

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "canonical", "rule"),
    [
        ("mean", "mean", Mean()),
        ("dampened", "dampened:dampening=inverse,alpha=0.2", Dampened()),
        (
            "dampened:alpha=0.50,dampening=exponential",
            "dampened:dampening=exponential,alpha=0.5",
            Dampened(Dampening.EXPONENTIAL, "0.5"),
        ),
        ("kardam", "kardam:lipschitz=on,frequency=on,dampening=exponential,alpha=0.2,bootstrap=on", Kardam()),
        (
            "kardam:frequency=off,lipschitz=off,dampening=none,bootstrap=off,alpha=1e1",
            "kardam:lipschitz=off,frequency=off,dampening=none,alpha=10,bootstrap=off",
            Kardam(lipschitz=False, frequency=False, dampening=Dampening.NONE, alpha="10", bootstrap=False),
        ),
        ("buffered", "buffered:buffers=0,aggregate=median,momentum=0", Buffered()),
        (
            "buffered:momentum=.90,buffers=7.0,aggregate=trimmed",
            "buffered:buffers=7,aggregate=trimmed,momentum=0.9",
            Buffered(7, Aggregate.TRIMMED, "0.9"),
        ),
        ("buffered:momentum=-0.0", "buffered:buffers=0,aggregate=median,momentum=0", Buffered()),
    ],
)
def test_a_text_means_a_rule_and_a_rule_has_one_text(
    text: str, canonical: str, rule: Mean | Dampened | Kardam | Buffered
) -> None:
    assert rule_named(text) == rule
    assert rule_text(rule) == canonical
    assert rule_named(canonical) == rule


@pytest.mark.parametrize("name", RULES)
def test_every_rule_of_the_catalogue_goes_by_its_name_and_its_whole_text(name: str) -> None:
    rule = rule_named(name)
    assert rule.name == name
    assert rule_named(rule_text(rule)) == rule
    assert [part.partition("=")[0] for part in rule_text(rule).partition(":")[2].split(",") if part] == [
        parameter.name for parameter in RULES[name].parameters
    ]
    assert all(parameter.canonical(parameter.default) == parameter.default for parameter in RULES[name].parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kardan", f'there is no rule "kardan", allowed {", ".join([*RULES][:-1])} or {[*RULES][-1]}; did you mean "kardam"?'),
        ("kardam:", '"" after rule kardam is no parameter, expected NAME=VALUE'),
        ("kardam:off", '"off" after rule kardam is no parameter, expected NAME=VALUE'),
        (
            "kardam:lipshitz=off",
            'rule kardam has no parameter "lipshitz", allowed lipschitz, frequency, dampening, alpha or bootstrap; '
            'did you mean "lipschitz"?',
        ),
        ("mean:x=1", 'rule mean has no parameter "x", it has none'),
        ("kardam:alpha=1,alpha=2", "parameter alpha of rule kardam is given twice"),
        ("kardam:lipschitz=yes", 'rule kardam: lipschitz is "yes", allowed on or off'),
        (
            "dampened:dampening=inverted",
            'rule dampened: dampening is "inverted", allowed none, inverse or exponential; did you mean "inverse"?',
        ),
        ("kardam:alpha=0", 'rule kardam: alpha is "0", allowed a decimal number from 0.0001 to 100'),
        ("kardam:alpha=nan", 'rule kardam: alpha is "nan", allowed a decimal number from 0.0001 to 100'),
        ("kardam:alpha=fast", 'rule kardam: alpha is "fast", allowed a decimal number from 0.0001 to 100'),
        ("buffered:buffers=1.5", 'rule buffered: buffers is "1.5", allowed a whole number from 0 to 1024'),
        ("buffered:momentum=1", 'rule buffered: momentum is "1", allowed a decimal number from 0 to 0.999'),
        (
            f"buffered:momentum=0.{'1' * 50}",
            f'rule buffered: momentum is "0.{"1" * 38}...", allowed a decimal number from 0 to 0.999',
        ),
    ],
)
def test_a_mistyped_rule_is_told_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule_named(text)
    assert str(caught.value) == message


@pytest.mark.slow
@given(text=st.one_of(st.text(), st.sampled_from([*RULES]).flatmap(lambda name: st.text().map(lambda tail: f"{name}:{tail}"))))
def test_any_text_is_a_rule_or_an_error_for_people(text: str) -> None:
    try:
        rule = rule_named(text)
    except RuleError:
        return
    assert rule_named(rule_text(rule)) == rule


def test_the_catalogue_is_read_without_the_heavy_libraries() -> None:
    program = (
        "import sys, learning.aggregation.catalogue\nprint([name for name in ('torch', 'gymnasium') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
