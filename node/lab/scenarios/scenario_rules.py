"""The rules that real peers play a scenario by: its own, but for what a simulator only samples."""

import os
import secrets
import time

import msgspec

from consensus.proof_of_work.puzzle import puzzle_digest
from consensus.proof_of_work.rules import ChainRules
from node.common.errors import NodeError
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.toy_tasks import ToyTask, toy_task
from node.processes.task_facts import task_section
from node.rules.network_file import network_text, parse_network_text
from node.rules.network_rules import Consensus, Learning, NetworkRules, TaskSection
from node.rules.typed_toml import TomlProblem, range_of

TOY_TASKS = {
    ToyTask.SPHERE: "node.lab.scenarios.toy_tasks:SphereTask",
    ToyTask.QUADRATIC: "node.lab.scenarios.toy_tasks:QuadraticTask",
}
"""The scenario's own task is the default: its rules were chosen for it, and the processors are left to the consensus."""

MEASURING_SECONDS = 0.2
"""A hundred attempts at the smallest puzzle, or a handful at large ones."""

PUZZLE_MEMORY_KIB_MIN = 1_024
"""An attempt takes a millisecond: at smaller ones a miner, who rests after each, spends its time waiting for its turn."""

EASIER = 4
"""The first blocks come so many times too early on a machine that does nothing else. Too early is soon put right by the
difficulty; too late would take a half-life of block intervals for each halving."""


def scenario_rules(scenario: Scenario, task: str | None, members: tuple[str, ...], puzzle_share: float) -> NetworkRules:
    """The network file of a scenario. `members`: keys in hex, of all peers. Raises NodeError."""
    is_order = scenario.consensus is Consensus.TOTAL_ORDER
    rules = NetworkRules(
        name=scenario.name,
        seed=secrets.token_hex(32),
        consensus=scenario.consensus,
        learning=scenario.learning,
        task=_toy_section(scenario.task) if task is None else _section(task, scenario),
        evolution=scenario.evolution,
        gradient=scenario.gradient,
        proof_of_work=scenario.proof_of_work if is_order else _calibrated(scenario.proof_of_work, len(members), puzzle_share),
        total_order=msgspec.structs.replace(scenario.total_order, members=members if is_order else ()),
    )
    try:
        return parse_network_text(network_text(rules))
    except TomlProblem as problem:
        raise NodeError(str(problem), "choose what is allowed") from problem


def _section(task: str, scenario: Scenario) -> TaskSection:
    return task_section(task, needs_gradient=scenario.learning is Learning.GRADIENT)


def _toy_section(name: ToyTask) -> TaskSection:
    """It needs no process of its own to be looked at: it is ours, and small."""
    task = toy_task(name)
    return TaskSection(TOY_TASKS[name], task.data_digest.hex(), sum(block.size for block in task.layout))


def _calibrated(section: ChainRules, peers: int, puzzle_share: float) -> ChainRules:
    """A simulator samples puzzles so that the first block takes an interval; here this machine's own pace is measured."""
    memory_kib = max(section.puzzle_memory_kib, PUZZLE_MEMORY_KIB_MIN)
    cores = min(peers * puzzle_share, os.cpu_count() or 1)
    attempts = round(cores * _attempts_per_second(memory_kib) * section.block_interval_ms / 1000 / EASIER)
    least, most = range_of(ChainRules, "start_attempts")
    return msgspec.structs.replace(section, puzzle_memory_kib=memory_kib, start_attempts=min(max(least, attempts), most))


def _attempts_per_second(memory_kib: int) -> float:
    """Of one core that does nothing else."""
    begun, attempts = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begun) < MEASURING_SECONDS:
        puzzle_digest(bytes(64), attempts, memory_kib)
        attempts += 1
    return attempts / seconds
