"""The runs behind `reproduce scale`: a crowd under proof of work, or many members of a total order; each remembered on disk."""

import gc
import hashlib
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, quantiles

from consensus.proof_of_work.rules import ChainRules
from consensus.types import Instant
from node.lab.scenarios.events import Crash
from node.lab.scenarios.scenario import Delays, ExpectSection, LinksSection, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.peer import SimulatedPeer
from node.lab.simulation.propagation import CommitLatency, Propagation
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.lab.simulation.trace import Happening
from node.rules.network_rules import Consensus, Learning, TotalOrderSection

RUN_VERSION = 1
"""Raised when the same run would end otherwise: remembered results of before then count no more."""

NEIGHBOURS = 8
"""Each peer dials so many, as the nodes of Bitcoin do, and is dialled by as many on average."""

UPLINK_KBIT_S = 20_000
"""20 Mbit/s: a good home connection."""

ANSWER_MS = 20
"""A puzzle of 8 MiB takes 13 ms to verify (benchmarks/puzzle.py), a signature 0.1 ms, a toy's measurement nothing."""

SLICES_PER_INTERVAL = 1.5
"""Block intervals to one slice of search: a round takes three slices, so that some dozen candidates come with each block."""

MEMBER_SLICE_MS = 10
"""To measure one candidate of the slate: a small model on a few thousand samples."""

CRASH_AT_S = 2
"""Members that are to crash do it soon, and stay away."""


@dataclass(frozen=True, slots=True)
class ScaleRun:
    """One run, in values that JSON holds."""

    peers: int
    duration_s: int
    block_interval_ms: int = 0
    """Of proof of work; 0: a total order."""
    crashed: int = 0
    seed: int = 1

    @property
    def key(self) -> str:
        """Names the file of its result."""
        text = json.dumps([RUN_VERSION, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class ScaleResult:
    """What the tables need. Times are in ms of virtual time, but for what it cost here."""

    outcome: str
    trace: str
    virtual_s: float
    height_min: int
    height_max: int
    blocks: int
    """0 under a total order."""
    stale_share: float
    delay_ms_mean: float
    """From the first peer that has a block to each other one; of a total order: from handing in to delivery."""
    delay_ms_quantiles: tuple[int, ...]
    """At 5, 10, ... 95 %."""
    bytes_sent_median: float
    """By one peer, in the whole run."""
    rounds: float
    """Of one member; 0 under proof of work."""
    generations: float
    """Decided by one member; 0 under proof of work."""
    events: int
    cpu_s: float
    rss_mb: float


def scenario_of(run: ScaleRun) -> Scenario:
    """As a scenario file would say it."""
    return _work_scenario(run) if run.block_interval_ms else _order_scenario(run)


def _work_scenario(run: ScaleRun) -> Scenario:
    interval_ms = run.block_interval_ms
    return Scenario(
        name=f"{run.peers} peers, a block in {interval_ms} ms",
        consensus=Consensus.PROOF_OF_WORK,
        learning=Learning.EVOLUTION,
        task=ToyTask.SPHERE,
        peers=run.peers,
        duration_s=run.duration_s,
        links=LinksSection(
            delay=Delays.REGIONS,
            neighbours=NEIGHBOURS,
            uplink_kbit_s=UPLINK_KBIT_S,
            answer_ms=ANSWER_MS,
            slice_ms=round(interval_ms * SLICES_PER_INTERVAL),
        ),
        proof_of_work=ChainRules(
            block_interval_ms=interval_ms, start_attempts=10_000, puzzle_memory_kib=8, finality_depth=60, half_life_blocks=200
        ),
        expect=ExpectSection(calm_s=run.duration_s // 2, heights_min=1, behind_max=10),
    )


def _order_scenario(run: ScaleRun) -> Scenario:
    crash = TimedEvent(CRASH_AT_S, Crash(tuple(range(run.peers - run.crashed, run.peers))))
    return Scenario(
        name=f"{run.peers} members",
        consensus=Consensus.TOTAL_ORDER,
        learning=Learning.EVOLUTION,
        task=ToyTask.SPHERE,
        peers=run.peers,
        duration_s=run.duration_s,
        links=LinksSection(delay=Delays.REGIONS, uplink_kbit_s=UPLINK_KBIT_S, slice_ms=MEMBER_SLICE_MS),
        total_order=TotalOrderSection(round_interval_ms=50),
        expect=ExpectSection(calm_s=run.duration_s - CRASH_AT_S, heights_min=1),
        events=(crash,) if run.crashed else (),
    )


def measure(run: ScaleRun) -> ScaleResult:
    """Run it in this process. Raises TomlProblem when its numbers make no scenario."""
    gc.disable()  # it takes a quarter of the time, and finds next to nothing
    simulation = Simulation(scenario_of(run), run.seed)
    propagation, commits = Propagation(), CommitLatency()
    check = simulation.network.watch

    def watch(peer: SimulatedPeer, happening: Happening, now: Instant) -> None:
        check(peer, happening, now)
        if run.block_interval_ms:
            propagation.see(happening, now)
        else:
            commits.see(peer.id, happening, now)

    simulation.network.watch = watch
    begun = time.process_time()
    outcome = simulation.run()
    return _result(run, outcome, propagation, commits, time.process_time() - begun)


def _result(
    run: ScaleRun, outcome: SimulationOutcome, propagation: Propagation, commits: CommitLatency, cpu_s: float
) -> ScaleResult:
    delays = propagation.delays_ms if run.block_interval_ms else commits.latencies_ms
    heights = outcome.heights[: run.peers - run.crashed]
    return ScaleResult(
        outcome=type(outcome.run_outcome).__name__,
        trace=outcome.trace_digest,
        virtual_s=outcome.virtual_ms / 1000,
        height_min=min(heights),
        height_max=max(heights),
        blocks=outcome.spread.blocks if outcome.spread else 0,
        stale_share=outcome.spread.stale_share if outcome.spread else 0.0,
        delay_ms_mean=fmean(delays),
        delay_ms_quantiles=tuple(round(value) for value in quantiles(delays, n=20)),
        bytes_sent_median=median(outcome.bytes_sent[: run.peers - run.crashed]),
        rounds=median(commits.rounds.values()) if commits.rounds else 0,
        generations=median(commits.generations.values()) if commits.generations else 0,
        events=outcome.events,
        cpu_s=cpu_s,
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


# --- many runs ------------------------------------------------------------------------------------------------------


def measure_all(
    runs: Sequence[ScaleRun], remembered: Path, processes: int, tell: Callable[[str], None]
) -> dict[ScaleRun, ScaleResult]:
    """The results of all, those remembered in the folder without running them again; each new one is remembered at once."""
    remembered.mkdir(parents=True, exist_ok=True)
    results = {run: result for run in runs if (result := _recall(run, remembered)) is not None}
    missing = [run for run in runs if run not in results]
    tell(f"{len(runs)} runs, {len(results)} of them remembered")
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when numpy is loaded: by new processes, not by ours
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        futures: dict[Future[ScaleResult], ScaleRun] = {pool.submit(measure, run): run for run in missing}
        try:
            for future in as_completed(futures):
                run = futures[future]
                results[run] = future.result()
                _remember(run, results[run], remembered)
                tell(f"{len(results)}/{len(runs)} {_line(run, results[run])}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {run: results[run] for run in runs}


def _line(run: ScaleRun, result: ScaleResult) -> str:
    name = scenario_of(run).name + (f", {run.crashed} of them crashed" if run.crashed else "")
    return f"{name}: {result.outcome} after {result.virtual_s:g} s of virtual time, {result.cpu_s:.0f} s here"


def _recall(run: ScaleRun, remembered: Path) -> ScaleResult | None:
    path = remembered / f"{run.key}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text())["result"]
    return ScaleResult(**{**found, "delay_ms_quantiles": tuple(found["delay_ms_quantiles"])})


def _remember(run: ScaleRun, result: ScaleResult, remembered: Path) -> None:
    path = remembered / f"{run.key}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"run": asdict(run), "result": asdict(result)}, indent=1))
    unfinished.replace(path)
