"""The learner of a peer that was told to misbehave: an honest one, wrapped, or with a worker of its own."""

import math
from dataclasses import dataclass, replace

from msgspec import structs

from learning.gradient.ledger import Gradients
from learning.gradient.rules import GradientRules
from learning.learner import Learner
from learning.task import Task, differentiable
from learning.tasks.shards import ShardKind
from node.lab.faults.catalogue import LearnerSituation, Situation, conduct_of, faulty_learner, parse_faults, unashamed
from node.lab.faults.fault import EFFORT
from node.lab.faults.gradient.conduct import Conduct
from node.lab.faults.gradient.lying_learner import Liar
from node.processes.learner import LearnerSpec, make_learner, own_part


@dataclass(frozen=True, slots=True)
class MakeFaultyLearner:
    """A `node.processes.learner.MakeLearner`; it crosses the pipe to the learner's process."""

    fault: str
    """NAME[:option=value,...] of the catalogue, several joined by +."""
    colluders: tuple[bytes, ...]
    """Other peers that misbehave with it."""

    def __call__(self, task: Task, spec: LearnerSpec, gradients: Gradients) -> Learner:
        """Raises TaskError."""
        specs, participant = parse_faults(self.fault), spec.participant
        if isinstance(spec.rules, GradientRules):
            liar = Liar(participant.author, self._conduct(task, spec), task.layout, spec.rules.bits)
            return liar.learner(
                gradients,
                lambda reading, worker: unashamed(make_learner(task, spec, reading, worker), specs, participant.author),
            )
        task = own_part(task, participant, spec.rules)
        rules = structs.replace(spec.rules, shards=ShardKind.WHOLE.value)  # the whole of what is its own
        times = math.prod(int(value) for fault in specs for name, value in fault.values if name == EFFORT)
        search = spec.search  # in slices as much larger, as by so many cores: by one its lists come too late for any slate
        efforts = {"effort_min": times * search.effort_min, "effort_max": times * search.effort_max}
        diligent = replace(spec, rules=rules, search=replace(search, **efforts, chunk=times * search.chunk))
        own = make_learner(task, diligent, gradients)
        situation = LearnerSituation(
            network_id=participant.network_id,
            author=participant.author,
            colluders=frozenset((participant.author, *self.colluders)),
            members=participant.members,
            rules=rules,
            task=task,
            own=own,
            build=lambda other_task: make_learner(other_task, diligent, gradients),
        )
        return faulty_learner(specs, own, situation)

    def _conduct(self, task: Task, spec: LearnerSpec) -> Conduct:
        trained, author = differentiable(task), spec.participant.author
        situation = Situation(
            author=author,
            colluders=frozenset((author, *self.colluders)),
            layout=trained.layout,
            classes=int(trained.sample_labels.max(initial=0)) + 1,
            seed=int.from_bytes(author[:8], "big"),
        )
        return conduct_of(parse_faults(self.fault), situation)
