"""A model of a stopped peer that does not lie in its folder: machine and learner go on as at a restart, and then end."""

from consensus.types import Instant
from learning.learner import CheckRequest, ExportRequest, LearnerRequest, ModelExported
from learning.task import TaskError
from node.api.telemetry import Vitals
from node.common.errors import NodeError, fix_of_task
from node.processes.learner import loaded, make_learner
from node.rules.network_rules import finality_depth
from node.rules.settings import PeerSettings
from node.runtime.assembly import first_reason, parts_of
from node.runtime.coupling import AskLearner
from node.storage.export import model_bytes, stored_layout
from node.storage.folder import NodeFolder
from node.storage.store import StoredPayloads
from node.storage.task_trust import check_trust


def recomputed_model(folder: NodeFolder, trusted_task: str, *, is_final: bool) -> bytes:
    """The one at the head, or the newest final one, as a safetensors file.

    Raises NodeError: a task whose code nobody here has asked for, a peer that has never run, records that contradict
    themselves, a task that does not load.
    """
    check_trust(folder, trusted_task)
    layout = stored_layout(folder.store)
    with first_reason(folder.store):
        parts = parts_of(_observer(folder), folder)
        requests: list[LearnerRequest] = [*parts.first_requests]
        requests += [effect.request for effect in parts.replica.start(Instant(0)) if isinstance(effect, AskLearner)]
    try:
        learner = make_learner(
            loaded(folder.rules.task.name, folder.rules.model, folder.path), parts.learner, StoredPayloads(folder.store.path)
        )
        for request in requests:
            if not isinstance(request, CheckRequest):  # what was not checked is above the head
                learner.handle(request)
        (model,) = learner.handle(ExportRequest(is_final))
    except TaskError as error:
        raise NodeError(str(error), fix_of_task(folder.rules.task.name, error.fix)) from error
    assert isinstance(model, ModelExported), "what was asked for"
    is_undoable = finality_depth(folder.rules) > 0
    final_height = parts.chain.facts(Vitals(folder.identity.peer_id)).final_height if is_undoable else model.height
    return model_bytes(folder.rules, layout, model, final_height, folder.path)


def _observer(folder: NodeFolder) -> PeerSettings:
    """Signs nothing, searches nothing, listens nowhere."""
    return PeerSettings(
        data_dir=folder.path,
        network_file=None,
        listen_host="",
        listen_port=0,
        peers=(),
        is_observer=True,
        is_searching=False,
        puzzle_share=0.05,
        log_level="warning",
    )
