"""Secrets that others show: made once, told once, stored as a digest."""

import hashlib
import secrets
from typing import Final

SECRET_BYTES: Final = 32


def new_secret(prefix: str) -> str:
    """Return `<prefix>_` and 256 random bits, in characters that need no quoting."""
    return f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a secret in hex.

    A slow hash would protect what people make up; these have too many bits to be guessed. The look-up is by
    digest, so its time tells nothing about the secret.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
