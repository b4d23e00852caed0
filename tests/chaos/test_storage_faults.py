"""Storage that fails at any call: the last output stays whole, or the new one is, and the exit code says which.

`CHAOS=all` has every kind of fault at every position, for one call and for all from that one on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classer_core import filesystems, patience
from tests.chaos import local_faults
from tests.chaos.campaign import Campaign
from tests.chaos.faults import KINDS, POSITIONS, Chaos
from tests.chaos.proxy import FaultyProxy
from tests.servers.object_stores import reachable
from tests.servers.storage import GcsEmulator, GcsServer, S3Server

SERVERS = {server.name: server for server in (S3Server, GcsServer, GcsEmulator)}
EVERY_FAULT = os.environ.get("CHAOS") == "all"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts as always, without the waits in between; those of the libraries too."""
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(patience, "LONGEST_WAIT_S", 0.002)
    monkeypatch.setattr(filesystems, "REQUEST_TIMEOUT_S", 0.5)
    real = asyncio.sleep

    async def sleep(delay: float, result: Any = None) -> Any:
        return await real(min(delay, 0.002), result)

    monkeypatch.setattr(asyncio, "sleep", sleep)


def report(name: str, campaign: Campaign, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n\n{name}\n" + "\n".join(campaign.lines()))
    assert campaign.damaged == []


def disturb(campaign: Campaign, few: bool = False) -> None:
    """Inject faults: one kind at each position of each operation, 18 in all, or `few`: one for each operation.

    Args:
        campaign: the job that is disturbed.
        few: storage libraries wait long between their own attempts, so that 18 faults take minutes there.
    """
    calls = campaign.calls()
    faults = campaign.faults(calls, stays=(True, False) if EVERY_FAULT else (True,))
    chosen = [
        fault
        for number, fault in enumerate(faults)
        if EVERY_FAULT or number // 3 % len(KINDS) == (number + number // 15) % len(KINDS)
    ]
    for number, fault in enumerate(chosen):
        if EVERY_FAULT or not few or number % len(POSITIONS) == number // len(POSITIONS) % len(POSITIONS):
            campaign.disturb(fault)


@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.integration)], ids=["few", "all"])
def test_a_local_filesystem(
    few: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chaos = Chaos()
    local_faults.install(chaos, tmp_path, monkeypatch)
    campaign = Campaign(str(tmp_path), chaos, monkeypatch)
    disturb(campaign, few)
    report("local", campaign, capsys)


@pytest.fixture(params=SERVERS)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, Chaos]]:
    """An object store behind a proxy: its name, a folder of it, and what fails there."""
    chaos = Chaos()
    with (
        SERVERS[request.param]() as server,
        FaultyProxy(chaos, server.address, server.scheme) as proxy,
        reachable(server, monkeypatch),
    ):
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value.replace(server.endpoint, proxy.endpoint))
        yield server.name, f"{server.bucket}/chaos", chaos


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
# Requests that time out leave sockets to aiohttp, which closes them when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_object_store(
    store: tuple[str, str, Chaos], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, base, chaos = store
    campaign = Campaign(base, chaos, monkeypatch)
    disturb(campaign, few=True)
    report(name, campaign, capsys)
