"""An attachment: a large payload that travels beside the order. What names it counts only where it is held."""

from typing import Annotated

import msgspec

from consensus.types import DIGEST_BYTES, Digest

ATTACHMENT_BYTES_MAX = 1 << 30
"""Of one attachment; the largest gradients in view are 40 MB."""


class Attachment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The BLAKE2b-256 digest of the bytes, and how many they are."""

    digest: Annotated[Digest, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
    length: Annotated[int, msgspec.Meta(ge=1, le=ATTACHMENT_BYTES_MAX)]
