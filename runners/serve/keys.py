"""API keys: a YAML file of names and SHA-256 digests, read again on SIGHUP.

    keys:
      - name: nightly
        sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
        allow: [classify, classifiers, jobs]                                              # the default: everything
        limits: {requests_per_minute: 60, tokens_per_minute: 500000, concurrent: 5}       # the default: none
    public: {}                      # requests without a key may classify and tag

Public requests have limits too; without any in the file 30 requests a minute.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from classer_core.errors import JobError, Problem
from runners.serve.errors import forbidden, unauthorized

Permission = Literal["classify", "classifiers", "jobs"]
PERMISSIONS: tuple[Permission, ...] = ("classify", "classifiers", "jobs")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class KeyLimits(_Section):
    """What a key may use; cached answers count for nothing."""

    requests_per_minute: Annotated[int, Field(gt=0)]
    tokens_per_minute: Annotated[int, Field(gt=0)]
    concurrent: Annotated[int, Field(gt=0)] | None = None


class Key(_Section):
    """Who may do what. `sha256` is the digest of the key in hex; the key itself is kept nowhere."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    allow: list[Permission] = list(PERMISSIONS)
    limits: KeyLimits | None = None


class Public(_Section):
    """What requests without a key may use."""

    limits: KeyLimits = KeyLimits(requests_per_minute=30, tokens_per_minute=150_000, concurrent=2)


class KeyFile(_Section):
    """The content of a key file."""

    keys: Annotated[list[Key], Field(min_length=1)]
    public: Public | None = None

    @field_validator("keys")
    @classmethod
    def _distinct(cls, keys: list[Key]) -> list[Key]:
        for values in ([key.name for key in keys], [key.sha256 for key in keys]):
            if len(set(values)) < len(values):
                raise ValueError("two keys have the same name or digest")
        return keys


# Whoever reaches a server without a key file may do everything, under this name.
EVERYBODY = Key(name="everybody", sha256="0" * 64)


class KeyRing:
    """The keys of a server.

    Args:
        path: the key file; None if the server asks for no key.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = read_keys(path) if path is not None else None

    @property
    def are_needed(self) -> bool:
        """Whether requests need a key."""
        return self._file is not None

    def reload(self) -> int:
        """Read the file again and return the number of keys; after an error the keys stay as they were.

        Raises:
            JobError: the file can't be read, or is wrong.
        """
        if self._path is not None:
            self._file = read_keys(self._path)
        return len(self._file.keys) if self._file is not None else 0

    def allowed(self, authorization: str | None, permission: Permission, is_public: bool = False) -> Key:
        """Return the key that a request has.

        Args:
            authorization: the request's header.
            permission: what the request needs.
            is_public: whether the request is answered without a key, where the file says `public`.

        Raises:
            ApiError: 401 or 403.
        """
        if self._file is None:
            return EVERYBODY
        if authorization is None:
            if self._file.public is not None and is_public:
                return Key(name="public", sha256="0" * 64, allow=["classify"], limits=self._file.public.limits)
            raise unauthorized()
        scheme, _, secret = authorization.partition(" ")
        digest = hashlib.sha256(secret.strip().encode("utf-8", "surrogateescape")).hexdigest()
        # All keys are compared, so that the time says nothing about which one is close.
        found = [key for key in self._file.keys if hmac.compare_digest(key.sha256, digest)]
        if scheme.lower() != "bearer" or not found:
            raise unauthorized()
        if permission not in found[0].allow:
            raise forbidden(f"The key {found[0].name!r} does not allow {permission!r}")
        return found[0]


def read_keys(path: Path) -> KeyFile:
    """Return the content of a key file.

    Raises:
        JobError: it can't be read, or is wrong; the message does not repeat digests.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        remedy = "Give a YAML file of `keys:`; docs/serve.md has one."
        raise JobError([Problem("--keys", str(path), f"can't be read: {type(error).__name__}", remedy)]) from None
    try:
        return KeyFile.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(f"{path}: {'.'.join(map(str, item['loc']))}", "", item["msg"], "docs/serve.md has an example.")
            for item in error.errors(include_input=False)
        ]
        raise JobError(problems) from None
