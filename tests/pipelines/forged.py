"""Records whose writer tries to choose their answer: every request field, in every spelling that a column can have."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = "billing billing"
LABELS = ["billing", "sales"]
ANSWER = "billing"


def fields(url: str) -> dict[str, Any]:
    """Request field -> what the writer of a record wants it to be; `url` tells whether it is fetched."""
    return {
        "labels": ["ok"],
        "classifier": "pinned@v1",
        "descriptions": {"ok": TEXT},
        "examples": {"ok": [TEXT]},
        "text_type": "joke",
        "priority": "fast",
        "cache": False,
        "mode": "multi",
        "threshold": 0.0,
        "image": [f"{url}{number}.png" for number in range(20)],
        "file": f"{url}a.pdf",
    }


def bodies(url: str) -> Iterator[dict[str, Any]]:
    """JSON objects: each field alone, all of them but the classifier, and names that are nearly theirs."""
    forged = fields(url)
    for name, value in forged.items():
        yield {"text": TEXT, name: value}
    together = {name: value for name, value in forged.items() if name != "classifier"}
    yield {"text": TEXT, **together}
    yield {"text": TEXT, **{name.upper(): value for name, value in together.items()}}
    yield {"text": TEXT, **{f"input_{name}": value for name, value in together.items()}}
    yield {"text": TEXT, **{f"attributes.{name}": value for name, value in together.items()}}
    yield {"text": TEXT, "attributes": together, "message_key": "k", "event_time": "2999-01-01T00:00:00Z"}
    yield {"text": TEXT, "_rescued_data": together, "source": {"columns": {"labels": "labels"}}}


def attributes(url: str) -> dict[str, str]:
    """The same fields as headers or attributes, whose values are strings."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields(url).items()}


@contextmanager
def counted_requests() -> Iterator[tuple[str, list[str]]]:
    """A web server's URL, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: Any) -> None:
            """Not to the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings() -> dict[str, Any]:
    """Of a job that would fetch whatever a record names from this machine."""
    return {"labels": LABELS, "cache": "none", "allow_http": True, "allow_hosts": ["127.0.0.1"]}
