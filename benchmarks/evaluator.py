"""How near the search comes to plain batched inference of one model on as many samples, on one thread.

Ceiling: the parent, unperturbed, on λ x 256 distinct samples, in the best of two layouts and seven chunk sizes, and the
cross-entropy of each 256. Ours: make λ children from noise and score each on one batch of 256. Both in one run, in turns;
medians of processor time and of the ratio within a round. Peak memory is measured in a process of its own (Linux).
"""

import gc
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from learning.exact import fill_children, first_weights, stream_key
from learning.models.batched import tanh_
from learning.models.candidates import FunctionalModel, candidate_rows, candidates_at_once, slices_of
from learning.models.evaluator import ForwardPass, LoopedModule, VmappedModule
from learning.task import Float32Array
from learning.tasks.digits import digits, digits_large, perceptron
from learning.tasks.supervised import SupervisedTask

CASES = ((digits, (64, 64, 10)), (digits_large, (64, 256, 256, 10)))
POPULATIONS = (64, 256)
BATCH = 256
CLASSES = 10
ROUNDS = 15
ROUNDS_FOR_SCALE = 3
TURN_SECONDS = 0.04
"""Long enough that what the turn before left in the caches does not count."""

CHUNK_SAMPLES = (256, 512, 1024, 2048, 4096, 8192, 16384)
CEILINGS_KEPT = 3
"""The best of a first look; the fastest of them in the measured run is the ceiling."""

TARGET_SHARE = 0.8
EXTRA_MEMORY_MB_MAX = 64

Measured = Callable[[], object]


class Parent:
    """Plain inference of one model on samples that all differ."""

    def __init__(self, model: nn.Sequential, population: int) -> None:
        self._layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        self._columns = torch.rand(64, population * BATCH)
        self._groups = torch.rand(population, 64, BATCH)
        self._labels = torch.randint(0, CLASSES, (population * BATCH,))

    def columns(self, samples: int) -> torch.Tensor:
        """One matrix, features x samples, so many samples at a time."""
        pieces = zip(self._columns.split(samples, 1), self._labels.split(samples), strict=True)
        losses = [
            functional.cross_entropy(self._logits_of_columns(inputs)[None], labels[None], reduction="none")
            for inputs, labels in pieces
        ]
        return torch.cat(losses, 1).view(-1, BATCH).mean(1)

    def groups(self, samples: int) -> torch.Tensor:
        """A stack of matrices of 256 samples, so many samples at a time."""
        labels = self._labels.view(-1, BATCH)
        pieces = zip(self._groups.split(samples // BATCH), labels.split(samples // BATCH), strict=True)
        losses = [
            functional.cross_entropy(self._logits_of_groups(inputs), labels, reduction="none").mean(1)
            for inputs, labels in pieces
        ]
        return torch.cat(losses)

    def _logits_of_columns(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self._layers[:-1]:
            values = tanh_(torch.addmm(layer.bias[:, None], layer.weight, values))
        return torch.addmm(self._layers[-1].bias[:, None], self._layers[-1].weight, values)

    def _logits_of_groups(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self._layers[:-1]:
            values = tanh_(torch.bmm(layer.weight.expand(len(values), -1, -1), values).add_(layer.bias[:, None]))
        last = self._layers[-1]
        return torch.bmm(last.weight.expand(len(values), -1, -1), values).add_(last.bias[:, None])


class Population:
    """A generation's children, made and scored a chunk at a time, as the search does."""

    def __init__(self, task: SupervisedTask, population: int) -> None:
        self._task = task
        self._population = population
        self._batch = task.draw_batch(bytes(32))[:BATCH]
        self._theta = first_weights(stream_key(b"benchmark"), task.layout)
        self._rows = candidate_rows(candidates_at_once(len(self._theta)), len(self._theta))
        self._scores = np.empty(population)

    def score_all(self) -> None:
        """With the evaluator."""
        for first, children in self._chunks():
            self._scores[first : first + len(children)] = self._task.scores(children, self._batch)

    def score_by(self, forward: ForwardPass, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """With another forward pass, for scale."""
        for first, children in self._chunks():
            logits = forward.logits(torch.from_numpy(children), inputs).movedim(-1, 1)
            losses = functional.cross_entropy(logits, labels.expand(len(children), -1), reduction="none")
            self._scores[first : first + len(children)] = -losses.mean(1).numpy()

    def _chunks(self) -> Iterator[tuple[int, Float32Array]]:
        for first in range(0, self._population, len(self._rows)):
            children = self._rows[: self._population - first]
            fill_children(children, self._theta, stream_key(b"noise"), first, np.float32(0.03125))
            yield first, children


def cpu_seconds(work: Measured, repeats: int = 1) -> float:
    """Of one repeat."""
    before = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - before) / repeats


def in_turns(works: list[Measured], rounds: int) -> list[tuple[float, ...]]:
    """Processor times of each work, one per round; the works take turns of at least TURN_SECONDS."""
    for work in works:
        work()
    repeats = [math.ceil(TURN_SECONDS / cpu_seconds(work)) for work in works]
    times = [[cpu_seconds(work, count) for work, count in zip(works, repeats, strict=True)] for _ in range(rounds)]
    return list(zip(*times, strict=True))


def best_ceilings(parent: Parent) -> list[Measured]:
    choices: list[Measured] = [
        lambda layout=layout, samples=samples: layout(samples)
        for layout in (parent.columns, parent.groups)
        for samples in CHUNK_SAMPLES
    ]
    medians = [statistics.median(times) for times in in_turns(choices, ROUNDS_FOR_SCALE)]
    ranked = sorted(range(len(choices)), key=medians.__getitem__)
    return [choices[index] for index in ranked[:CEILINGS_KEPT]]


def case_report(make_task: Callable[[], SupervisedTask], widths: tuple[int, ...], population: int) -> tuple[str, float]:
    task, model = make_task(), perceptron(widths)
    children = Population(task, population)
    inputs, labels = torch.rand(BATCH, 64), torch.randint(0, CLASSES, (BATCH,))
    slices = slices_of(model)
    *ceilings, ours = in_turns([*best_ceilings(Parent(model, population)), children.score_all], ROUNDS)
    ceiling = min(ceilings, key=statistics.median)
    called = FunctionalModel(model)
    others = (LoopedModule(called, slices), VmappedModule(called, slices))
    scale: list[Measured] = [lambda forward=forward: children.score_by(forward, inputs, labels) for forward in others]
    ceiling_s, ours_s, loop_s, vmap_s = map(statistics.median, (ceiling, ours, *in_turns(scale, ROUNDS_FOR_SCALE)))
    share = statistics.median(plain / own for plain, own in zip(ceiling, ours, strict=True))
    name = "-".join(str(width) for width in widths)
    line = f"{name:>14} {population:>4} {population / ceiling_s:>12,.0f} {population / ours_s:>10,.0f} {share:>8.0%}"
    return f"{line} {ceiling_s / loop_s:>8.0%} {ceiling_s / vmap_s:>8.0%}", share


def memory_now(field: str) -> float:
    """MB, from /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def extra_memory_mb(case: int, population: int) -> float:
    """Peak of a generation above what the loaded task and one evaluation of it take. In this process."""
    task = CASES[case][0]()
    parameters = first_weights(stream_key(b"benchmark"), task.layout)
    task.metrics(parameters)
    gc.collect()
    before = memory_now("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here (proc(5))
    Population(task, population).score_all()
    return memory_now("VmHWM") - before


def extra_memory_in_own_process(case: int, population: int) -> float:
    command = [sys.executable, __file__, "memory", str(case), str(population)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["memory"]:
        print(extra_memory_mb(int(sys.argv[2]), int(sys.argv[3])))
        return 0
    header = f"{'model':>14} {'λ':>4} {'ceiling/s':>12} {'ours/s':>10} {'ours':>8} {'loop':>8} {'vmap':>8} {'extra MB':>9}"
    print(f"candidates per second of processor time, batch {BATCH}, one thread; shares of the ceiling\n{header}")
    is_met = True
    for case, (make_task, widths) in enumerate(CASES):
        for population in POPULATIONS:
            with torch.inference_mode():
                line, share = case_report(make_task, widths, population)
            extra = extra_memory_in_own_process(case, population)
            print(f"{line} {extra:>9.1f}", flush=True)
            is_met = is_met and share >= TARGET_SHARE and extra <= EXTRA_MEMORY_MB_MAX
    print(f"target: at least {TARGET_SHARE:.0%} and at most {EXTRA_MEMORY_MB_MAX} MB extra: {'met' if is_met else 'NOT met'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
