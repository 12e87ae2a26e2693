"""A large payload, named by its digest: it travels beside the order, and what names it counts only where it is held."""

from typing import Annotated

import msgspec

from consensus.encoding import DigestBytes

ATTACHMENT_BYTES_MAX = 1 << 30
"""Of one large payload; the largest gradients in view are 40 MB."""


class LargePayload(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The BLAKE2b-256 digest of the bytes, and how many they are."""

    digest: DigestBytes
    length: Annotated[int, msgspec.Meta(ge=1, le=ATTACHMENT_BYTES_MAX)]
