"""The server against its own description, and against ten thousand requests that nobody should send."""

import json
import random
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest

from tests.serve.running import RunningServer

pytestmark = pytest.mark.integration  # half a minute

SEED = 20261127
COUNT = 10_000
# A valid request whose fields the schema can't relate to each other (examples of labels that are not there) is refused.
CHECKS_LEFT_OUT = "positive_data_acceptance"
MAX_BODY_BYTES = 1 << 20
GROWTH_BYTES = 300 << 20
BODY: dict[str, Any] = {"text": "my invoice", "labels": ["invoice", "login"]}
PATHS = ["/v1/classify", "/v1/tag", "/v1/classify/batch", "/v1/tag/batch", "/v1/classifiers", "/v1/batch"]
ODD_PATHS = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/classifiers/..%2f..%2fetc%2fpasswd",
    "/v1/classifiers/%00",
    "/v1/classifiers/a@v99999999999999999999",
    "/v1/batch/../../x/results",
    "/v1/batch/%2e%2e/results",
    "/static/../server.py",
    "//v1//classify",
    "/" + "a" * 5_000,
    "/v1/classify?" + "x=1&" * 1_000,
    "/\u00e4\u00f6\u00fc",
    "*",
    "http://169.254.169.254/latest/meta-data",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    10**40,
    "",
    "x",
    "\ud800",
    "\x00",
    [],
    {},
    [[]],
    [None],
    {"": ""},
    "a" * 9_000,
]


class Inner(BaseHTTPRequestHandler):
    """A service inside the network, which no request may reach."""

    hits: list[str]

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_error(404)


@pytest.fixture(scope="module")
def inner() -> Iterator[tuple[int, list[str]]]:
    hits: list[str] = []
    handler = type("Listening", (Inner,), {"hits": hits})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_address[1], hits
        listening.shutdown()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("fuzz"), max_body_bytes=MAX_BODY_BYTES) as running:
        yield running


def test_the_description_is_what_the_server_does(attacked: RunningServer) -> None:
    """Its examples, its limits, random requests and chains of them: no 5xx, and no answer that is not described."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{attacked.url}/openapi.json", "--no-color"]
    command += ["--checks", "all", "--exclude-checks", CHECKS_LEFT_OUT, "--max-examples", "50", "--seed", str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "16 selected / 16 total" in done.stdout


def request(method: str, path: str, body: bytes, headers: str = "") -> bytes:
    """Return a request as it is sent; the body's length is its own unless `headers` says something about it."""
    if "content-length" not in headers.lower() and "transfer-encoding" not in headers.lower():
        headers += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode() + body


def hostile(rng: random.Random, port: int) -> tuple[str, bytes]:
    """Return the kind of a hostile request, and its bytes."""
    path, whole = rng.choice(PATHS), json.dumps(BODY).encode()
    kind = rng.choice(
        ["cut", "noise", "types", "nested", "path", "method", "headers", "length", "chunks", "inside", "http"]
    )
    match kind:
        case "cut":
            return kind, request("POST", path, whole[: rng.randrange(len(whole))])
        case "noise":
            return kind, request("POST", path, rng.randbytes(rng.randrange(300)))
        case "types":
            fields = ["text", "texts", "labels", "descriptions", "examples", "classifier", "file", "image", "threshold"]
            body = {**BODY, **{rng.choice(fields): rng.choice(VALUES) for _ in range(rng.randint(1, 4))}}
            return kind, request("POST", path, json.dumps(body).encode())
        case "nested":
            depth = rng.choice([100, 10_000, 200_000])
            opened = rng.choice([b"[", b'{"a":'])
            return kind, request("POST", path, b'{"text": ' + opened * depth)
        case "path":
            return kind, request(rng.choice(["GET", "POST", "DELETE"]), rng.choice(ODD_PATHS), whole)
        case "method":
            return kind, request(rng.choice(["PUT", "PATCH", "TRACE", "CONNECT", "BREW", "get"]), path, whole)
        case "headers":
            many = rng.choice(
                [
                    "".join(f"X-{n}: {n}\r\n" for n in range(10_000)),
                    "X: " + "a" * 200_000 + "\r\n",
                    "Authorization: Bearer \xff\x00\r\n",
                    "Content-Type: multipart/form-data; boundary=" + "b" * 300 + "\r\n",
                    "X-Request-ID: a\x0bb\r\nOrigin: null\r\n",
                    "Expect: 100-continue\r\n",
                    "Accept-Encoding: " + "gzip," * 500 + "\r\nRange: bytes=0-0,0-0\r\n",
                ]
            )
            return kind, request("POST", path, whole, many)
        case "length":
            length = rng.choice(["-1", "1e3", "99999999999999999999", str(10 * 2**30), "5, 5", "0x10", "", "+5"])
            return kind, request("POST", path, whole, f"Content-Length: {length}\r\n")
        case "chunks":
            chunked = rng.choice(
                [
                    b"zz\r\n",
                    b"ffffffffffffffff\r\n" + whole,
                    b"5;" + b"x" * 5_000 + b"\r\nhello\r\n0\r\n\r\n",
                    b"-1\r\n",
                    b"100000\r\n" + b"a" * 0x100000 + b"\r\n1\r\nb\r\n0\r\n\r\n",
                ]
            )
            both = rng.choice(["", "Content-Length: 5\r\n"])
            return kind, request("POST", path, chunked, f"Transfer-Encoding: chunked\r\n{both}")
        case "inside":
            host = rng.choice(
                ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"]
            )
            source = rng.choice(
                [f"http://{host}:{port}/x", f"http://u:p@{host}:{port}/x", "file:///etc/passwd", "/etc/passwd"]
            )
            body = {"labels": ["a", "b"], rng.choice(["image", "file"]): source}
            return kind, request("POST", "/v1/classify", json.dumps(body).encode())
        case _:
            return kind, rng.choice(
                [
                    rng.randbytes(400),
                    b"\x16\x03\x01\x02\x00" + rng.randbytes(100),
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"GET / HTTP/9.9\r\n\r\n",
                    b"GET /\r\n\r\n",
                    request("GET", "/healthz", b"").replace(b"Connection: close\r\n", b"") * 40,
                    request("POST", path, whole).replace(b"\r\n", b"\n"),
                ]
            )


def answer(port: int, sent: bytes) -> int | None:
    """Send bytes and return the status that comes back; None if the connection is closed without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            first = connection.recv(4_096)
            while first and b"\r\n" not in first:
                first += connection.recv(4_096)
        except OSError:  # refused before all of it was sent
            return None
    return int(first.split(b" ", 2)[1]) if first.startswith(b"HTTP/1.1 ") else None


def test_hostile_requests_break_nothing(attacked: RunningServer, inner: tuple[int, list[str]]) -> None:
    port, hits = inner
    rng = random.Random(SEED)
    own_port = attacked.server.port
    # These send a part of a body and wait; others are answered meanwhile.
    slow = [socket.create_connection(("127.0.0.1", own_port)) for _ in range(50)]
    for connection in slow:
        connection.sendall(request("POST", "/v1/classify", b'{"te', "Content-Length: 500\r\n"))
    before = psutil.Process().memory_info().rss
    statuses: Counter[tuple[str, int | None]] = Counter()
    for _ in range(COUNT):
        kind, sent = hostile(rng, port)
        statuses[kind, answer(own_port, sent)] += 1
    errors = {found: count for found, count in statuses.items() if found[1] is not None and found[1] >= 500}
    assert not errors
    assert {kind for kind, status in statuses if status is not None and 400 <= status < 500} >= {
        *("cut", "noise", "types", "nested", "path", "method", "headers", "length", "chunks", "inside", "http")
    }
    assert hits == []
    assert psutil.Process().memory_info().rss - before < GROWTH_BYTES
    assert attacked.post("/v1/classify", BODY).json()["label"] == "invoice"
    for connection in slow:
        connection.close()
