"""The SDK from npm (`classer-ai`), every method it has, pointed at a server by its class attribute."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.serve.running import RunningServer

pytestmark = pytest.mark.integration  # needs npm and its registry

PACKAGE = "classer-ai@0.0.4"
SCRIPT = """
const { ClasserClient } = require("classer-ai");
ClasserClient.BASE_URL = process.argv[1];
const client = new ClasserClient({});
const labels = ["billing", "technical"];
(async () => {
  const one = await client.classify({ text: "of technical kind", labels, priority: "fast" });
  const again = await client.classify({ text: "of technical kind", labels });
  const many = await client.tag({ text: "billing technical", labels, threshold: 0.3 });
  const batch = await client.classifyBatch({ texts: ["node billing", ""], labels });
  const tagged = await client.tagBatch({ texts: ["billing technical", "neither"], labels, threshold: 0.5 });
  const error = await client.classify({ text: "x", labels: ["a", "a"] }).catch((refused) => refused.detail);
  console.log(JSON.stringify({ one, again, many, batch, tagged, error }));
})();
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package."""
    path = tmp_path_factory.mktemp("node")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(path)]
    subprocess.run(["npm", "install", *options, PACKAGE], check=True, capture_output=True, timeout=120)
    return path


def test_every_method(server: RunningServer, folder: Path) -> None:
    command = ["node", "-e", SCRIPT, server.url]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["one"]["label"], seen["one"]["tokens"]) == ("technical", 3)
    assert seen["again"]["cached"] is True
    assert [item["label"] for item in seen["many"]["labels"]] == ["billing", "technical"]
    assert [item["label"] for item in seen["batch"]["results"]] == ["billing", None]
    assert [len(item["labels"]) for item in seen["tagged"]["results"]] == [2, 0]
    assert "unique" in seen["error"]
