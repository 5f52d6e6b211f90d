"""What stands in the database about an account, as the principal that it makes.

`credential` stands for the secret without telling it: it changes when the secret does, so that a connection which was
let in with the old one can be found. Of a password or a worker's token it is the beginning of a hash over what is kept
of it; of an API token and of a join key it is the id.
"""

from __future__ import annotations

import hashlib

import msgspec

from gpumon.roles import STRANGER_NAME, Labels, Principal, Role

REPEATED_WITHIN_S = 120.0
_CREDENTIAL_CHARACTERS = 16


def person(name: str, role: str, commands_on: str | None, credential: str) -> Principal | None:
    """Return the principal of a person's row, None for a role or a limit that this version does not know."""
    try:
        return Principal(name, Role(role), labels_from(commands_on), credential)
    except (ValueError, msgspec.MsgspecError):
        return None


def worker(worker_id: str, token_sha256: str) -> Principal:
    """Return the principal of a worker's row."""
    return Principal(worker_id, Role.WORKER, credential=credential_of(token_sha256))


def stranger(key_id: str) -> Principal:
    """Return the principal of a machine that shows this join key."""
    return Principal(STRANGER_NAME, Role.STRANGER, credential=key_id)


def key_ends(expires: float, uses_left: int, last_used: float | None) -> float:
    """Return until when a join key lets anybody log in to the broker.

    One that is used up does so a little longer: the machine that has used it last may not have heard the answer, and is
    given the same again. Nobody else gets anything from it (see `master.join_keys`).
    """
    return expires if uses_left > 0 else min(expires, (last_used or 0.0) + REPEATED_WITHIN_S)


def credential_of(kept: str) -> str:
    """Return what stands for a secret of which this is kept."""
    return hashlib.sha256(kept.encode()).hexdigest()[:_CREDENTIAL_CHARACTERS]


def labels_from(text: str | None) -> Labels | None:
    """Return the labels of a limit as it is stored. Raises msgspec.MsgspecError: when it is no object of texts."""
    return None if text is None else tuple(sorted(msgspec.json.decode(text, type=dict[str, str]).items()))


def labels_to_text(labels: Labels | None) -> str | None:
    """Return a limit as it is stored."""
    return None if labels is None else msgspec.json.encode(dict(sorted(labels))).decode()
