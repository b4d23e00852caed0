"""Fetch hostile HTTP(S) URLs: many at once, with limits, and only from public addresses or allowed hosts."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from classer_core.classifiers import shown
from classer_core.errors import FailureCode, RecordError
from classer_core.fetching.rules import MAX_BYTES, FetchRules, redacted, too_large

CONNECT_TIMEOUT_S, READ_TIMEOUT_S, TOTAL_TIMEOUT_S = 5.0, 10.0, 60.0
MAX_REDIRECTS = 5
ATTEMPTS = 3
BACKOFF_S = 0.5
MAX_RETRY_AFTER_S = 10.0
RETRIED_STATUS = {429, 500, 502, 503, 504}
CONCURRENT = 32
USER_AGENT = "classer-pipelines"
# Special-purpose addresses of IANA's registries that Python's `is_global` accepts in some or all versions, and the
# addresses of cloud services that look public.
# https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT; Alibaba Cloud's metadata
            "168.63.129.16/32",  # Azure's host: metadata, DNS, agents
            "169.254.0.0/16",
            "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "64:ff9b:1::/48",  # NAT64 within a network
            "100::/64",
            "100:0:0:1::/64",
            "2001::/23",  # protocol assignments, Teredo, ORCHID
            "2001:db8::/32",
            "2620:4f:8000::/48",
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",  # site-local: deprecated, and still routed
        ),
    )
)
# The only IPv6 block allocated to the public internet.
PUBLIC_V6 = ipaddress.ip_network("2000::/3")
# IPv6 prefixes of addresses that contain an IPv4 address, which a gateway or the system would connect to:
# (prefix, number of bits after the IPv4 address).
EMBEDDED_V4 = (
    (ipaddress.ip_network("::/96"), 0),  # compatible, deprecated
    (ipaddress.ip_network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.ip_network("::ffff:0:0:0/96"), 0),  # translated
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4
)


class AddressRefusedError(OSError):
    """A connection to an address that is not public was refused; it is not retried."""


class HttpFetcher:
    """Fetches URLs on one event loop; it must be created and used on the loop's thread.

    Args:
        rules: what the job allows records to reach.
    """

    def __init__(self, rules: FetchRules) -> None:
        self._rules = rules
        self._allowed_hosts = {host.lower().rstrip(".") for host in rules.allow_hosts}
        # One session checks every address that it connects to; the other is for hosts that the job allows.
        self._public = self._session(_refuse_private)
        self._listed = self._session(None)
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def fetch(self, url: str, place: str) -> bytes:
        """Return the content of a URL.

        Args:
            url: the URL.
            place: the attachment, for messages.

        Raises:
            RecordError: the URL is invalid or not allowed, or its content is missing, too large, too slow, or can't be
                fetched in `ATTEMPTS` attempts.
        """
        async with self._slots:
            try:
                async with asyncio.timeout(TOTAL_TIMEOUT_S):
                    return await self._with_retries(url, place)
            except TimeoutError as error:
                message = f"{place}: {redacted(url)} took more than {TOTAL_TIMEOUT_S:.0f} s"
                raise RecordError(FailureCode.FETCH_TIMEOUT, message, place) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._public.close()
        await self._listed.close()

    async def _with_retries(self, url: str, place: str) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            wait_s = BACKOFF_S * 2**attempt * random.uniform(0.5, 1)
            try:
                status, headers, data = await self._follow(url, place)
            except AddressRefusedError as error:
                raise _refused(url, place, str(error)) from error
            except ValueError as error:  # host names that can't be encoded, redirects to invalid URLs
                raise RecordError(FailureCode.URL_INVALID, f"{place}: not a URL: {redacted(url)}", place) from error
            except (aiohttp.ClientError, ConnectionError, socket.gaierror) as error:
                refused = _cause(error, AddressRefusedError)
                if refused is not None:
                    raise _refused(url, place, str(refused)) from error
                if attempt == ATTEMPTS:
                    raise _failed(url, place, f"{type(error).__name__} {_reason(error)}") from error
            else:
                if status == 200:
                    return data
                if status in (404, 410):
                    message = f"{place}: {redacted(url)} is not there (status {status})"
                    raise RecordError(FailureCode.CONTENT_NOT_FOUND, message, place)
                if status not in RETRIED_STATUS or attempt == ATTEMPTS:
                    raise _failed(url, place, f"status {status}")
                wait_s = max(wait_s, _retry_after_s(headers))
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _follow(self, url: str, place: str) -> tuple[int, Any, bytes]:
        """Return status, headers and body after all redirects, each of which is checked like the first URL."""
        current = url
        for _ in range(MAX_REDIRECTS + 1):
            session = self._session_for(current, place)
            async with session.get(current, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    current = urljoin(current, response.headers["Location"])
                    continue
                data = await _read(response, place) if response.status == 200 else b""
                return response.status, response.headers, data
        raise _failed(url, place, f"more than {MAX_REDIRECTS} redirects")

    def _session_for(self, url: str, place: str) -> aiohttp.ClientSession:
        parts = _split(url, place)
        host = (parts.hostname or "").lower().rstrip(".")
        if parts.scheme == "http" and not self._rules.allow_http:
            message = f"{place}: http:// is not allowed, got {redacted(url)}; set allow_http: true to fetch it"
            raise RecordError(FailureCode.SCHEME_NOT_ALLOWED, message, place)
        if parts.scheme not in ("http", "https"):
            message = f"{place}: the scheme {parts.scheme}: is not supported, got {redacted(url)}"
            raise RecordError(FailureCode.SCHEME_NOT_ALLOWED, message, place)
        if host in self._allowed_hosts:
            return self._listed
        if (address := _disguised_address(host)) is not None:
            raise AddressRefusedError(f"{host} is another spelling of the address {address}")
        return self._public

    def _session(self, socket_factory: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=CONCURRENT, resolver=aiohttp.ThreadedResolver(), socket_factory=socket_factory
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a compression bomb would be unpacked before its size is checked
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            trust_env=False,
        )


def is_public(address: str) -> bool:
    """Return whether an IP address is public: on the internet, and not an IPv6 form of a private IPv4 address.

    >>> is_public("8.8.8.8"), is_public("10.0.0.1"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        bits_after = next((bits for network, bits in EMBEDDED_V4 if ip in network), None)
        if bits_after is not None:
            ip = ipaddress.IPv4Address((int(ip) >> bits_after) & 0xFFFFFFFF)
        elif ip not in PUBLIC_V6:
            return False
    if any(ip in network for network in SPECIAL if network.version == ip.version):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _disguised_address(host: str) -> str | None:
    """Return the IPv4 address that a host spells in another way than as four decimals; None for other hosts.

    >>> _disguised_address("2130706433"), _disguised_address("0x7f.1"), _disguised_address("127.0.0.1")
    ('127.0.0.1', '127.0.0.1', None)
    """
    try:
        address = socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
    return address if address != host else None


def _refuse_private(info: Any) -> socket.socket:
    """Return a socket for an address that is about to be connected to, if it is public.

    Names are resolved by then, so that a name server can't change the address after this check.

    Raises:
        AddressRefusedError: the address is not public.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise AddressRefusedError(f"{address[0]} is not a public address")
    return socket.socket(family, kind, protocol)


def _split(url: str, place: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        message = f"{place}: not a URL: {redacted(url)}: {error}"
        raise RecordError(FailureCode.URL_INVALID, message, place) from error
    if parts.scheme in ("http", "https") and (not parts.hostname or "\\" in url or any(c <= " " for c in url)):
        raise RecordError(FailureCode.URL_INVALID, f"{place}: not a URL: {redacted(url)}", place)
    if parts.username is not None or parts.password is not None:
        message = f"{place}: URLs with a user or a password are not allowed, got {redacted(url)}"
        raise RecordError(FailureCode.URL_INVALID, message, place)
    return parts


async def _read(response: aiohttp.ClientResponse, place: str) -> bytes:
    if response.content_length is not None and response.content_length > MAX_BYTES:
        raise too_large(place, response.content_length)
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 18):
        size += len(part)
        if size > MAX_BYTES:
            raise too_large(place)
        parts.append(part)
    return b"".join(parts)


def _retry_after_s(headers: Any) -> float:
    value = headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isdecimal() else 0.0


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while error is not None and not isinstance(error, kind):
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return error


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    return shown(getattr(inner, "strerror", None) or "")


def _failed(url: str, place: str, reason: str) -> RecordError:
    return RecordError(FailureCode.FETCH_FAILED, f"{place}: {redacted(url)} can't be fetched: {reason}", place)


def _refused(url: str, place: str, reason: str) -> RecordError:
    message = f"{place}: {redacted(url)} is not allowed: {reason}; list its host in allow_hosts to fetch it"
    return RecordError(FailureCode.ADDRESS_NOT_ALLOWED, message, place)
