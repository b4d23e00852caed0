"""A loopback server that answers as OpenAI's API does, and fails as servers do."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEY = "sk-loopback-secret"


class OpenAIServer:
    """Chooses the label that the text names. A word of the text asks for a fault of its first attempts, or of all.

    Args:
        logprobs: whether it gives probabilities.
        key: whether it asks for `KEY`.
    """

    def __init__(self, logprobs: bool = True, key: bool = False) -> None:
        self.logprobs, self.key = logprobs, key
        self.attempts: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that are gone are part of the test."""


class _Handler(BaseHTTPRequestHandler):
    owner: OpenAIServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        owner = self.owner
        with owner.lock:
            owner.attempts[text] += 1
            attempt = owner.attempts[text]
            owner.times.setdefault(text, []).append(time.monotonic())
            owner.bodies.append(body)
            owner.at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.at_once)
        try:
            self._respond(body, text, attempt)
        finally:
            with owner.lock:
                owner.at_once -= 1

    def _respond(self, body: dict[str, Any], text: str, attempt: int) -> None:
        if self.path != "/v1/chat/completions":
            self._send(404, b"")
        elif self.owner.key and self.headers.get("Authorization") != f"Bearer {KEY}":
            message = f"Incorrect API key provided: {self.headers.get('Authorization')}"
            self._send(401, json.dumps({"error": {"message": message}}).encode())
        elif "always500" in text or ("once500" in text and attempt == 1):
            self._send(500, b"oops")
        elif "once429" in text and attempt == 1:
            self._send(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "1"})
        elif "onceslow" in text and attempt == 1:
            time.sleep(2.5)
            self._send(200, b"{}")
        elif "oncebroken" in text and attempt == 1:
            self._send(200, b'{"choices": [{"mess')
        elif "oncedropped" in text and attempt == 1:
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices": [')
            self.close_connection = True
        elif "rejected" in text:
            self._send(400, b'{"error": {"message": "context length exceeded"}}')
        else:
            self._send(200, json.dumps(self._answer(body, text)).encode())

    def _answer(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        usage = {"prompt_tokens": 30, "completion_tokens": 1, "total_tokens": 31}
        if "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]
            if schema["type"] == "array":
                answer: Any = [label for label in schema["items"]["enum"] if label in text]
            else:
                answer = next((label for label in schema["enum"] if label in text), schema["enum"][0])
            content = "gibberish" if "wrongform" in text else json.dumps({"answer": answer})
            return {"choices": [{"message": {"content": content}}], "usage": usage}
        listed = [line for line in body["messages"][0]["content"].splitlines() if line[1:3] == ": "]
        letter = next((line[0] for line in listed if line[3:].split(" (")[0] in text), "A")
        choice: dict[str, Any] = {"message": {"content": letter}}
        if self.owner.logprobs and "nologprobs" not in text:
            top = [{"token": letter, "logprob": -0.1}, {"token": "The", "logprob": -3.0}]
            top += [{"token": line[0], "logprob": -5.0} for line in listed if line[0] != letter]
            choice["logprobs"] = {"content": [{"token": letter, "logprob": -0.1, "top_logprobs": top}]}
        return {"choices": [choice], "usage": usage}

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has given up

    def log_message(self, *_: object) -> None:
        pass
