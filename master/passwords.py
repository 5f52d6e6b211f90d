"""Passwords of people (argon2), and tokens of workers and programs (SHA-256 of 256 random bits)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

TOKEN_BYTES = 32
# No secret: by it a token that is found in a file or a log is known for what it is.
API_TOKEN_PREFIX = "gpt_"  # noqa: S105  # nosec B105
_API_TOKEN_CHARACTERS = 43  # 256 bits in URL-safe base64
_GENERATED_BYTES = 12
# A verification takes 64 MiB (argon2-cffi's defaults, RFC 9106 section 4): not one for every thread of the page.
_AT_ONCE = 2


class Passwords:
    """Hashes and verifies people's passwords; a wrong name costs as much as a right one."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        with self._slots:
            return self._hasher.hash(password)

    def is_right(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password belongs to the hash; None stands for somebody who is not known."""
        if self._nobodys is None:  # made at the first call for whomever, so that it tells nothing
            self._nobodys = self.hash(secrets.token_urlsafe(_GENERATED_BYTES))
        try:
            with self._slots:
                self._hasher.verify(password_hash or self._nobodys, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
        return password_hash is not None


def new_password() -> str:
    """Return a generated password of 96 random bits."""
    return secrets.token_urlsafe(_GENERATED_BYTES)


def new_token() -> str:
    """Return a worker's new token."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_api_token() -> str:
    """Return a new API token: `gpt_` and 43 URL-safe characters."""
    return API_TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def is_api_token(text: str) -> bool:
    """Tell whether this has the form of an API token, which no password may have."""
    return text.startswith(API_TOKEN_PREFIX) and len(text) == len(API_TOKEN_PREFIX) + _API_TOKEN_CHARACTERS


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells nothing about them."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
