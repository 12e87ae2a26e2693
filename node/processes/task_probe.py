"""`python -m node.processes.task_probe REQUEST`: try a task in a process of its own, and print what a network file says of it.

A user's own module may import anything and take its time; the command line stays out of its way.
"""

import sys
from pathlib import Path

import msgspec

from learning.idle_tensors import idle_in_gradients, idle_in_scores
from learning.task import DifferentiableTask, TaskError
from learning.task_check import check_task
from learning.tasks.loading import load_task
from node.common.errors import fix_of_task
from node.processes.task_facts import ProbeRequest, TaskAnswer


def answer_for(request: ProbeRequest) -> TaskAnswer:
    """The task's facts, or why it cannot be used."""
    name = request.task
    try:
        loaded = load_task(name, model=request.model, weights=(Path(request.weights),))
        task = check_task(loaded)
        parameters, digest = sum(block.size for block in task.layout), task.data_digest.hex()
        if not isinstance(loaded, DifferentiableTask):
            return TaskAnswer(parameters, digest, has_gradient=False, idle=idle_in_scores(task))
        idle = idle_in_gradients(loaded) if request.needs_gradient else idle_in_scores(task)
        return TaskAnswer(parameters, digest, has_gradient=True, idle=idle)
    except TaskError as error:
        return TaskAnswer(error=str(error), fix=fix_of_task(name, error.fix))


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.argv[1], type=ProbeRequest)
    sys.stdout.write(msgspec.json.encode(answer_for(asked)).decode() + "\n")
