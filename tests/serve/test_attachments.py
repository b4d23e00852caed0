"""Images and files on the request path: base64 and URLs that the guard lets pass, and no path of the server."""

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.documents import docx, pdf
from tests.serve.running import RunningServer

LABELS = ["billing", "technical"]


@pytest.fixture(scope="module")
def inner() -> Iterator[tuple[int, list[str]]]:
    """A server of the machine's inside; the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = pdf("about billing") if self.path.endswith(".pdf") else b"secret"
            self.send_response(302 if self.path == "/away" else 200)
            if self.path == "/away":
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/inside.pdf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_base64_is_read(server: RunningServer) -> None:
    for document in (pdf("about billing"), docx("about billing")):
        for source in (base64.b64encode(document).decode(), "data:;base64," + base64.b64encode(document).decode()):
            body = server.post("/v1/classify", {"labels": LABELS, "file": source}).json()
            assert (body["label"], body["evidence"]) == ("billing", "page 1"), body
    assert body["cached"]  # the same bytes, however they were sent


@pytest.mark.parametrize("field", ["image", "file"])
@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "file:///etc/passwd",
        "etc/passwd",
        "~/.ssh/id_rsa",
        "s3://bucket/key",
        "gs://bucket/key",
        "memory://x",
        "ftp://example.com/x",
        "gopher://127.0.0.1/",
        "https://user:password@example.com/x",
        "https://",
        "\\\\server\\share",
    ],
)
def test_paths_and_other_schemes_are_refused(server: RunningServer, field: str, source: str) -> None:
    response = server.post("/v1/classify", {"text": "x", "labels": LABELS, field: source})
    assert (response.status_code, response.json()["details"]["field"]) == (422, field), response.text
    assert "password@" not in response.text and "root:" not in response.text


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "100.100.100.200",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_inside_is_reached(server: RunningServer, inner: tuple[int, list[str]], scheme: str, host: str) -> None:
    port, asked = inner
    response = server.post("/v1/classify", {"labels": LABELS, "file": f"{scheme}://{host}:{port}/inside.pdf"})
    assert response.status_code == 422 and asked == []


def test_hosts_that_are_allowed_are_reached_and_lead_nowhere_else(
    tmp_path: Path, inner: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, asked = inner
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: resolve("127.0.0.1" if host == "docs.test" else host, *rest, **more),
    )
    with RunningServer(tmp_path, allow_hosts=("docs.test",), allow_http=True) as server:
        body = server.post("/v1/classify", {"labels": LABELS, "file": f"http://docs.test:{port}/inside.pdf"}).json()
        assert body["label"] == "billing" and asked == ["/inside.pdf"]
        response = server.post("/v1/classify", {"labels": LABELS, "file": f"http://docs.test:{port}/away"})
        assert response.status_code == 422 and asked == ["/inside.pdf", "/away"]


def test_documents_that_break_their_parser_break_their_request_alone(server: RunningServer) -> None:
    for document, reason in (
        (b"%PDF-1.4 nothing", "document_damaged"),
        (pdf("x", password="secret"), "document_encrypted"),
        (pdf(*["page"] * 21), "too_many_pages"),
        (b"plain text, and no document", "document_unsupported"),
    ):
        source = base64.b64encode(document).decode()
        body = server.post("/v1/classify", {"text": "x", "labels": LABELS, "file": source}).json()
        assert (body["code"], body["details"]) == ("VALIDATION_ERROR", {"field": "file", "reason": reason})
    assert server.post("/v1/classify", {"text": "x", "labels": LABELS}).status_code == 200
