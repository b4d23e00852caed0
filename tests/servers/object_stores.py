"""Fixtures: one object store at a time, where libraries find it as they would find the real one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from classer_core.filesystems import forget_filesystems
from tests.servers.storage import StorageServer


@contextmanager
def reachable(server: StorageServer, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server's variables in the environment; libraries forget the last one."""
    for name, value in server.variables.items():
        patch.setenv(name, value)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_filesystems()
    yield
    forget_filesystems()
