"""Fetching against a real server on loopback, which hostile URLs must never reach."""

import base64
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from classer_core import FailureCode
from classer_core.contents import Attachment
from classer_core.fetching import Fetcher, FetchRules
from classer_core.fetching import http as fetching_http
from classer_core.fetching.rules import MAX_BYTES, redacted

CONTENT = b"%PDF-1.4 served"


class Server(ThreadingHTTPServer):
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answers)
        self.port = self.server_address[1]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append(self.path)
        times = server.asked.count(self.path)
        if self.path.startswith("/redirect/"):
            return self._send(302, b"", Location=self.path.removeprefix("/redirect/"))
        if self.path == "/lost":
            return self._send(302, b"", Location="http://[foo")
        if self.path == "/flaky" and times < 3:
            return self._send(503, b"")
        if self.path.startswith("/status/"):
            return self._send(int(self.path.rsplit("/", 1)[1]), b"")
        if self.path == "/huge":
            return self._send(200, b"", **{"Content-Length": str(MAX_BYTES + 1)})
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            block = bytes(1 << 20)
            for _ in range(MAX_BYTES // len(block) + 2):
                self.wfile.write(block)
            return None
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
            return None
        return self._send(200, CONTENT)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_http, "BACKOFF_S", 0.01)


def fetch(source: str | bytes, rules: FetchRules | None = None) -> bytes | FailureCode:
    fetcher = Fetcher(rules or FetchRules(allow_http=True))
    attachment = Attachment("file", 1, source)
    [error] = fetcher.fetch([attachment])
    fetcher.close()
    if error is not None:
        return error.code
    assert attachment.data is not None
    return attachment.data


def listed(*hosts: str) -> FetchRules:
    return FetchRules(allow_hosts=hosts or ("127.0.0.1",), allow_http=True)


# Loopback, private, link-local, metadata, multicast and reserved addresses in all the ways that they can be written.
HOSTS = """
    127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 017700000001 0177.1 0177.0.0.1 127.127.127.127
    127.0.0.1. 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [0000::0001]
    [64:ff9b::7f00:1] [2002:7f00:1::] [::127.0.0.1] localhost LOCALHOST localhost. localhost.localdomain ip6-localhost
    \u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3 \uff11\uff12\uff17.0.0.1 127\u30020\u30020\u30021
    10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1.254 169.254.169.254 169.254.170.2 2852039166
    0xa9fea9fe 0251.0376.0251.0376 [::ffff:169.254.169.254] [fd00:ec2::254] [fe80::1] [fc00::1] [ff02::1] 224.0.0.1
    239.255.255.250 255.255.255.255 100.64.0.1 100.100.100.200 192.0.0.192 198.18.0.1 192.0.2.1 240.0.0.1
""".split()  # noqa: SIM905
HOSTILE = [
    *(f"http://{host}:PORT/" for host in HOSTS),
    "http://user@127.0.0.1:PORT/",
    "http://user:secret@127.0.0.1:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@example.com/",
    "http://example.com\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.com/",
    "http:127.0.0.1:PORT/",
    "http:/127.0.0.1:PORT/",
    "http:///127.0.0.1:PORT/",
    "http://[::1%25lo]:PORT/",
    "http://127.0.0.1:PORT\r\nHost: x/",
    "HTTP://127.0.0.1:PORT/",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://127.0.0.1:PORT/x",
    "gopher://127.0.0.1:PORT/_GET%20/",
    "dict://127.0.0.1:PORT/x",
    "ldap://127.0.0.1:PORT/x",
    "jar:http://127.0.0.1:PORT/!/",
    "netdoc:///etc/passwd",
    "unix:/var/run/docker.sock",
    "data:text/plain,",
    "gs://bucket/../other",
    "s3://bucket/key",
    "memory://secret/x",
    "/etc/passwd",
    "../../../../etc/passwd",
    "~/.ssh/id_rsa",
    "~nobody-of-that-name/x",
    "https://example..com/x",
    f"https://{'x' * 70}.example/x",
    "https://[foo/x",
    "\\\\127.0.0.1\\share",
    "",
]


@pytest.mark.parametrize("url", [url for url in HOSTILE if url and not url.startswith("data:")])
def test_hostile_sources_reach_nothing(server: Server, url: str) -> None:
    allowed = {
        FailureCode.ADDRESS_NOT_ALLOWED, FailureCode.URL_INVALID, FailureCode.SCHEME_NOT_ALLOWED,
        FailureCode.PATH_NOT_ALLOWED, FailureCode.FETCH_FAILED,
    }  # fmt: skip
    assert fetch(url.replace("PORT", str(server.port))) in allowed
    assert server.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "2130706433", "0177.1", "127.1", "[::ffff:127.0.0.1]", "localhost"]
)
def test_refused_addresses_are_called_so(server: Server, host: str) -> None:
    assert fetch(f"http://{host}:{server.port}/") == FailureCode.ADDRESS_NOT_ALLOWED


def test_a_name_that_resolves_to_loopback_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the resolver says: it is the address dialled that counts."""
    real = socket.getaddrinfo

    def resolve(host: object, *args: object, **more: object) -> object:
        return real("127.0.0.1" if host == "innocent.example" else host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert fetch(f"http://innocent.example:{server.port}/") == FailureCode.ADDRESS_NOT_ALLOWED
    assert server.asked == []
    assert fetch(f"http://innocent.example:{server.port}/", listed("innocent.example")) == CONTENT


def test_a_redirect_is_checked_like_the_first_url(server: Server) -> None:
    here = f"127.0.0.1:{server.port}"
    assert fetch(f"http://{here}/redirect/http://localhost:{server.port}/in", listed()) == (
        FailureCode.ADDRESS_NOT_ALLOWED
    )
    assert fetch(f"http://{here}/redirect/file:///etc/passwd", listed()) == FailureCode.SCHEME_NOT_ALLOWED
    assert fetch(f"http://{here}/redirect//ok", listed()) == CONTENT
    assert fetch(f"http://{here}/lost", listed()) == FailureCode.URL_INVALID
    assert fetch(f"http://{here}/redirect/" * 9 + "x", listed()) == FailureCode.FETCH_FAILED
    assert "/in" not in server.asked


def test_listed_hosts_are_reached_and_http_only_if_allowed(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/doc.pdf"
    assert fetch(url, listed()) == CONTENT
    assert fetch(url, FetchRules(allow_hosts=("127.0.0.1",))) == FailureCode.SCHEME_NOT_ALLOWED


@pytest.mark.parametrize(
    ("path", "expected", "asked"),
    [
        ("/flaky", CONTENT, 3),
        ("/status/503", FailureCode.FETCH_FAILED, 3),
        ("/status/429", FailureCode.FETCH_FAILED, 3),
        ("/status/403", FailureCode.FETCH_FAILED, 1),
        ("/status/404", FailureCode.CONTENT_NOT_FOUND, 1),
        ("/huge", FailureCode.CONTENT_TOO_LARGE, 1),
        ("/endless", FailureCode.CONTENT_TOO_LARGE, 1),
    ],
)
def test_limits_and_retries(server: Server, path: str, expected: bytes | FailureCode, asked: int) -> None:
    assert fetch(f"http://127.0.0.1:{server.port}{path}", listed()) == expected
    assert len(server.asked) == asked


def test_a_server_that_drips_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_http, "TOTAL_TIMEOUT_S", 0.5)
    start = time.monotonic()
    assert fetch(f"http://127.0.0.1:{server.port}/drip", listed()) == FailureCode.FETCH_TIMEOUT
    assert time.monotonic() - start < 3


def test_a_port_that_nobody_listens_on() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    assert fetch(url, listed()) == FailureCode.FETCH_FAILED


def test_equal_sources_are_fetched_once(server: Server) -> None:
    fetcher = Fetcher(listed())
    attachments = [Attachment("file", 1, f"http://127.0.0.1:{server.port}/{n % 2}") for n in range(10)]
    assert fetcher.fetch(attachments) == [None] * 10
    fetcher.close()
    assert sorted(server.asked) == ["/0", "/1"]
    assert all(item.data == CONTENT for item in attachments)


@pytest.mark.parametrize(
    "source",
    [
        base64.b64encode(CONTENT * 3).decode(),
        base64.urlsafe_b64encode(CONTENT * 3).decode().rstrip("="),
        "data:application/pdf;base64," + base64.b64encode(CONTENT * 3).decode(),
        "\n".join([base64.b64encode(CONTENT * 3).decode()[:40], base64.b64encode(CONTENT * 3).decode()[40:]]),
        CONTENT * 3,
    ],
)
def test_inline_content(source: str | bytes) -> None:
    assert fetch(source) == CONTENT * 3


@pytest.mark.parametrize(
    "source",
    [
        base64.b64encode(b"%PDF-1.7 a document" * 9).decode()[:-7] + "*",
        base64.b64encode(b"%PDF-1.7").decode().rstrip("=") + "?",
        base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 90).decode().replace("e", "%"),
        "aGVsbG8gd29ybGQ===",
        "A" * 41,
        "not base64 at all, and too long for a path " * 200,
    ],
)
def test_what_claims_to_be_base64_and_is_not_says_so(source: str) -> None:
    assert fetch(source) == FailureCode.BASE64_INVALID


def test_short_base64_is_content() -> None:
    assert fetch(base64.b64encode(b"%PDF-1.7").decode()) == b"%PDF-1.7"
    assert fetch(base64.b64encode(b"GIF89a").decode()) == b"GIF89a"
    assert fetch("aGVsbG8=") == b"hello"


@pytest.mark.parametrize(
    "path", ["scan", "inbox/a.pdf", "R0lGOD/report.pdf", "./JVBERi0x", "a=b.png", "archive/2024/x"]
)
def test_paths_are_not_base64(path: str) -> None:
    assert fetch(path) == FailureCode.PATH_NOT_ALLOWED


def test_broken_base64() -> None:
    assert fetch("data:image/png;base64,@@@@") == FailureCode.BASE64_INVALID
    assert fetch("data:image/png;base64") == FailureCode.BASE64_INVALID


def test_paths_only_where_the_job_allows(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "x.pdf").write_bytes(CONTENT)
    (inside / "link.pdf").symlink_to(outside / "x.pdf")
    os.mkfifo(inside / "pipe")
    rules = FetchRules(allow_paths=(str(inside),), folder=str(inside))
    assert fetch(str(inside / "x.pdf"), rules) == fetch("x.pdf", rules) == CONTENT
    for path in (outside / "x.pdf", inside / "link.pdf", inside / "pipe", inside, "../out/x.pdf", "/proc/self/environ"):
        assert fetch(str(path), rules) == FailureCode.PATH_NOT_ALLOWED, path
    assert fetch("no-such.pdf", rules) == FailureCode.CONTENT_NOT_FOUND
    assert fetch("x.pdf", FetchRules(folder=str(inside))) == FailureCode.PATH_NOT_ALLOWED


def test_storage_only_where_the_job_allows() -> None:
    with fsspec.open("memory://allowed/x.pdf", "wb") as file:
        file.write(CONTENT)
    rules = FetchRules(allow_paths=("memory://allowed",))
    assert fetch("memory://allowed/x.pdf", rules) == CONTENT
    assert fetch("memory://allowed/none.pdf", rules) == FailureCode.CONTENT_NOT_FOUND
    assert fetch("memory://allowed/../other/x.pdf", rules) == FailureCode.PATH_NOT_ALLOWED
    assert fetch("memory://allowed-not/x.pdf", rules) == FailureCode.PATH_NOT_ALLOWED


def test_messages_hold_no_secrets() -> None:
    shown = redacted("https://user:pass@example.com/doc.pdf?X-Amz-Signature=abc#frag")
    assert shown == "'https://example.com/doc.pdf?…'"
