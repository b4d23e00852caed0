"""Client of OpenAI-compatible servers: bounded concurrency, retries with backoff, and `Retry-After`."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from classer_core.errors import FailureCode, ModelLoadError, RecordError

ATTEMPTS = 6
FIRST_WAIT_S, LONGEST_WAIT_S, LONGEST_RETRY_AFTER_S = 0.5, 20.0, 120.0
CONNECT_TIMEOUT_S, TOTAL_TIMEOUT_S = 10.0, 120.0
MAX_ANSWER_BYTES = 4 << 20
RETRIED_STATUS = {408, 409, 425, 429, 500, 502, 503, 504, 529}


class RejectedError(Exception):
    """The server rejects a request as it is (400 or 422): another form of it may do."""


class Client:
    """Sends requests of one call of the model.

    Args:
        url: of the API, as in `http://localhost:8000/v1`.
        key: sent as bearer token; it is in no message and no log.
        concurrency: most requests at once.
    """

    def __init__(self, url: str, key: str | None, concurrency: int) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._key = key
        self._slots = asyncio.Semaphore(concurrency)
        self._not_before = 0.0  # when a server that was asked too much may be asked again, by any request
        self._concurrency = concurrency

    async def __aenter__(self) -> Client:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=TOTAL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the server's answer to a request.

        Raises:
            RecordError: the server did not answer, or not with JSON, in `ATTEMPTS` attempts.
            RejectedError: the server rejects the request.
            ModelLoadError: the key is wrong, or the server does not have the model.
        """
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._slots:
                    await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
                    return await self._ask_once(body)
            except _TemporaryError as error:
                problem = str(error)
                wait_s = error.retry_after_s
                if wait_s is not None:
                    self._not_before = max(self._not_before, time.monotonic() + wait_s)
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                # Their text may hold the URL and words of the server, but not what was sent.
                problem, wait_s = f"{type(error).__name__}: {str(error)[:200]}".rstrip(": "), None
            if attempt < ATTEMPTS:
                await asyncio.sleep(wait_s if wait_s is not None else backoff_s(attempt))
        message = f"the model's server failed {ATTEMPTS} times, at last with: {problem}"
        raise RecordError(FailureCode.MODEL_FAILED, message)

    async def _ask_once(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # A redirect would take the key to another host.
        async with self._session.post(self._url, json=body, allow_redirects=False) as response:
            text = await response.content.read(MAX_ANSWER_BYTES)
            while chunk := await response.content.read(MAX_ANSWER_BYTES - len(text)):
                text += chunk
            if response.status in RETRIED_STATUS:
                retry_after = retry_after_s(response.headers.get("Retry-After"))
                raise _TemporaryError(f"HTTP {response.status}", retry_after)
            if response.status in (400, 422):
                raise RejectedError(f"HTTP {response.status}: {self._reason(text)}")
            if response.status != 200:
                message = f"{self._url} answers HTTP {response.status}: {self._reason(text)}"
                raise ModelLoadError(f"{message}. Correct model.id, its URL, or model.api_key.")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise _TemporaryError("an answer that is not JSON", None) from None
        if not isinstance(answer, dict):
            raise _TemporaryError("an answer that is not a JSON object", None)
        return answer

    def _reason(self, body: bytes) -> str:
        """Return a server's own words for an error, without the key, which some of them repeat."""
        return reason_of(body.replace(self._key.encode(), b"[key]") if self._key else body)


class _TemporaryError(Exception):
    """A request that may be sent again, after `retry_after_s` seconds if the server says so."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt, counted from 1: they double, and half of them is random."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
    return longest * (0.5 + random.random() / 2)


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds that a server asks to wait, within limits; None if it asks for none, or by date.

    >>> retry_after_s("2"), retry_after_s("999999"), retry_after_s("nan"), retry_after_s("-1")
    (2.0, 120.0, None, 0.0)
    """
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def reason_of(body: bytes) -> str:
    """Return a server's own words for an error, cut to one line.

    >>> reason_of(b'{"error": {"message": "no such model"}}'), reason_of(b"<html>")
    ('no such model', '<html>')
    """
    text = body[:2_000].decode(errors="replace")
    try:
        error = json.loads(body)["error"]
        text = str(error["message"] if isinstance(error, Mapping) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return " ".join(text.split())[:200]


def message_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first choice of an answer; an empty mapping if there is none."""
    choices = answer.get("choices")
    is_list = isinstance(choices, Sequence) and not isinstance(choices, str) and len(choices) > 0
    first = choices[0] if is_list and choices is not None else None
    return first if isinstance(first, Mapping) else {}
