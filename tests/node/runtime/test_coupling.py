"""How the limits of what is kept fit each other, whatever the model's size."""

import pytest
from msgspec.structs import replace

from learning.gradient.checkpoint_codec import commit_interval
from learning.task import ParameterBlock
from node.net.bulk_transfer import payload_places
from node.rules.network_rules import Learning, NetworkRules
from node.rules.retention import CHECKPOINTS_KEPT, PAYLOADS_BYTES
from node.runtime.composition import GRADIENT_BYTES_PER_PARAMETER, fetches_max, payload_bytes_max, retention_of
from tests.node.example_network import example_rules


def gradients_of(parameters: int, members: int, gc_depth: int = 60) -> NetworkRules:
    rules = example_rules()
    keys = tuple(bytes([number]).hex() * 32 for number in range(members))
    return replace(
        rules,
        learning=Learning.GRADIENT,
        task=replace(rules.task, parameters=parameters),
        total_order=replace(rules.total_order, members=keys, gc_depth=gc_depth),
    )


SIZES = (15, 4_810, 85_002, 325_000, 1_000_000, 20_000_000)


@pytest.mark.parametrize("gc_depth", [3, 60, 1_000])
@pytest.mark.parametrize("members", [4, 64, 200])
@pytest.mark.parametrize("parameters", SIZES)
def test_payloads_outlive_the_oldest_checkpoint_that_anybody_may_start_from(
    parameters: int, members: int, gc_depth: int
) -> None:
    """Below that, members that lag wait for payloads that all others have forgotten, and the network stops for ever."""
    rules = gradients_of(parameters, members, gc_depth)
    kept = retention_of(rules)
    layout = (ParameterBlock("w", (parameters,), 1),)
    interval = commit_interval(layout, members, rules.gradient.staleness_max, needs_models=True)
    assert interval <= kept.interval
    assert CHECKPOINTS_KEPT * interval + kept.snapshot_behind + gc_depth < kept.payload_commits
    assert kept.snapshot_behind > gc_depth


@pytest.mark.parametrize("members", [4, 64])
@pytest.mark.parametrize("parameters", SIZES)
def test_payloads_take_no_more_room_than_allowed_or_needed(parameters: int, members: int) -> None:
    kept = retention_of(gradients_of(parameters, members))
    fewest = CHECKPOINTS_KEPT * kept.interval + 64 + 60 + 1
    commit_bytes = members * parameters * GRADIENT_BYTES_PER_PARAMETER
    assert kept.payload_commits * commit_bytes <= max(PAYLOADS_BYTES, fewest * commit_bytes)


@pytest.mark.parametrize("parameters", [*SIZES, 1_000_000_000])
def test_no_machine_asks_for_more_payloads_at_once_than_the_shell_has_places(parameters: int) -> None:
    """The machine reckons without the layout: each of its tensors adds a byte."""
    rules = gradients_of(parameters, 4)
    layout = (ParameterBlock("w", (parameters - 9,), 1), *(ParameterBlock(f"b{number}", (1,), 1) for number in range(9)))
    places = payload_places(payload_bytes_max(rules, layout))
    assert 1 <= fetches_max(rules) <= places
    assert fetches_max(rules) >= places - 1
