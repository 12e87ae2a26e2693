"""What all peers of a network agree on about a torch model besides its task: where it starts, and which part of it learns."""

from typing import Annotated

import msgspec
from msgspec import Meta

ADAPTER_RANK_MAX = 256

PATTERNS_MAX = 64

Pattern = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.*?\[\]!-]{1,200}\Z", title="a name, or a pattern with * and ?")]


class ModelRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a task whose model is a torch module. The defaults leave it as the task has it."""

    start: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\.safetensors)?\Z",
            title='the name of a .safetensors file, or ""',
            description="Weights to start from: a file here, in the peer's folder, ./data or $KUBRAT_DATA. Empty: the task's.",
        ),
    ] = ""
    start_digest: Annotated[
        str,
        Meta(
            pattern=r"^([0-9a-f]{64})?\Z",
            title='64 hexadecimal digits (0-9, a-f), or ""',
            description="BLAKE2b-256 of that file.",
        ),
    ] = ""
    trainable: Annotated[
        tuple[Pattern, ...],
        Meta(
            max_length=PATTERNS_MAX,
            title=f"a list of up to {PATTERNS_MAX} names or patterns",
            description='Tensors that learn, like "head.*"; the others stay. Empty: all that the model does not freeze.',
        ),
    ] = ()
    adapters: Annotated[
        tuple[Pattern, ...],
        Meta(
            max_length=PATTERNS_MAX,
            title=f"a list of up to {PATTERNS_MAX} names or patterns",
            description="Linear layers that get a low-rank adapter (LoRA); all else is frozen, unless trainable names it.",
        ),
    ] = ()
    adapter_rank: Annotated[int, Meta(ge=1, le=ADAPTER_RANK_MAX, description="r: columns of an adapter's two factors.")] = 8
    adapter_alpha: Annotated[int, Meta(ge=1, le=65_536, description="An adapter's product counts alpha / r times.")] = 16

    @property
    def changes_model(self) -> bool:
        """Whether anything here is not as the task has it."""
        return bool(self.start or self.trainable or self.adapters)


UNCHANGED = ModelRules()
