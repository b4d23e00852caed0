from collections.abc import Iterator

import hypothesis  # noqa: F401  before trio, which tells it about its random numbers when both are there
import pytest

from tests.serve.running import RunningServer


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without keys, for tests that leave nothing behind that others would stumble over."""
    with RunningServer(tmp_path_factory.mktemp("serve"), max_body_bytes=1 << 20) as running:
        yield running
