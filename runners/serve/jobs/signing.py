"""URLs of uploads and results: they work without a key, for one job, one purpose and some hours."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from runners.serve.errors import forbidden

Purpose = Literal["upload", "download"]
VALID_S = 24 * 3_600
SECRET_BYTES = 32


class UrlSigner:
    """Signs and checks URLs with a secret that outlives the server.

    Args:
        folder: where the secret is kept, readable by this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self._secret = _secret_in(folder)

    def query(self, purpose: Purpose, job_id: str) -> str:
        """Return the query of a URL that is valid from now on."""
        expires = int(time.time()) + VALID_S
        return f"expires={expires}&signature={self.signature(purpose, job_id, expires)}"

    def signature(self, purpose: Purpose, job_id: str, expires: int) -> str:
        """Return what nobody else can compute."""
        message = f"{purpose}\n{job_id}\n{expires}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def check(self, purpose: Purpose, job_id: str, query: Mapping[str, str]) -> None:
        """Let a signed URL pass.

        Raises:
            ApiError: 403; the signature is wrong, or its time is over.
        """
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            raise forbidden("This URL is not signed")
        expected = self.signature(purpose, job_id, int(expires))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise forbidden("This URL is not signed")
        if int(expires) < time.time():
            raise forbidden("This URL has expired: ask for a new one")


def _secret_in(folder: Path) -> bytes:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        known = path.read_bytes()
        if len(known) == SECRET_BYTES:
            return known
        path.unlink()  # a server was killed while it wrote it: no URL was signed with it yet
        return _secret_in(folder)
    secret = secrets.token_bytes(SECRET_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return secret
