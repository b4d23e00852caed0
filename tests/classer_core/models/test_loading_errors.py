"""What can be wrong with a model is said before it is loaded, with a remedy."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from classer_core import ModelLoadError, hardware, load_model
from classer_core.models.choosing import kind_for
from classer_core.models.hub import ModelFiles, check_memory
from classer_core.models.spec import ModelSpec

CAUSAL = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}


def write_config(folder: Path, **config: object) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("entailmnt:acme/nli", "'entailmnt' is not a kind of model. Kinds: embedding, finetuned"),
        ("entailment:", "names no model: write entailment:ID"),
        (
            {"id": "reranker:a/b", "hypothesis": "is {label}"},
            "hypothesis is not a setting of reranker models",
        ),
        ({"id": "entailment:a/b", "hypothesis": "about it"}, "must contain {label}"),
        ({"id": "entailment:a/b", "hypothesis": "{label} {text}"}, "contains {text}; it may contain"),
        ({"id": "entailment:a/b", "shortlist": 1}, "greater than or equal to 2"),
        ({"id": "a/b", "trust_remote_code": "yes"}, "valid boolean"),
        ({"id": "a/b", "dtype": "int8"}, "dtype"),
    ],
)
def test_wrong_settings(value: object, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ModelSpec.model_validate(value)
    assert message in str(raised.value)


def test_settings_as_a_job_writes_them() -> None:
    for value in ("embedded", "acme/model", {"id": "entailment:acme/nli", "shortlist": 20, "revision": "v1"}):
        spec = ModelSpec.model_validate(value)
        assert spec.to_document() == value
        assert ModelSpec.model_validate(spec.to_document()) == spec


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("entailment:/no/such/folder", "there is no such folder, and it is not a Hugging Face id. Correct"),
        ("entailment:nobody/nothing", "the hub can't be reached, and the model is not in its local cache. Download"),
        ("nobody/nothing", "the hub can't be reached"),
        ("not a name", "not a Hugging Face id"),
        ("wrongkind:nobody/nothing", "'wrongkind' is not a kind of model"),
    ],
)
def test_names_of_no_model(id: str, message: str) -> None:
    with pytest.raises(ModelLoadError) as raised:
        load_model(id)
    assert message in str(raised.value)


def test_folders_that_are_not_models(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"the folder has no config.json. Give a folder"):
        load_model(f"finetuned:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"config.json can't be read"):
        load_model(f"finetuned:{tmp_path}")
    folder = write_config(tmp_path, architectures=["BertForSequenceClassification"], model_type="bert")
    with pytest.raises(ModelLoadError, match=r"the folder has no weights \(model.safetensors\)"):
        load_model(f"finetuned:{folder}")
    (tmp_path / "model.safetensors").write_bytes(b"damaged" * 100)
    with pytest.raises(ModelLoadError, match=r"can't be loaded: "):
        load_model(f"finetuned:{folder}")
    with pytest.raises(ModelLoadError, match=r"a local folder has no revisions"):
        load_model(ModelSpec(id=f"finetuned:{folder}", revision="v1"))


def test_code_of_its_own_needs_trust(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    own = {"architectures": ["MyForSequenceClassification"], "model_type": "my", "auto_map": {"AutoModel": "my.My"}}
    with pytest.raises(ModelLoadError, match=r"it needs code that comes with it. Read that code, then set model.trust"):
        load_model(f"finetuned:{write_config(tmp_path, **own)}")


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_memory_bytes", lambda device: 100 << 20)
    files, spec = ModelFiles({"dtype": "bfloat16"}, False, None, 100 << 20), ModelSpec(id="finetuned:a/b")
    check_memory(spec, ModelFiles({"dtype": "float32"}, False, None, 100 << 20), 2, "cpu")
    with pytest.raises(ModelLoadError, match=r"it needs about 120 MiB of memory, and this machine has 100 MiB free"):
        check_memory(spec, files, 2, "cpu")


def test_free_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 400\ninactive_file 300\n"}
    for name, content in stats.items():
        (tmp_path / name).write_text(content)
    assert hardware._free_container_bytes(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._free_container_bytes(tmp_path) is None
    free = hardware.free_memory_bytes("cpu")
    assert free is None or free > 0


@pytest.mark.parametrize(
    ("config", "has_modules", "kind"),
    [
        ({"architectures": ["BertModel"]}, False, "embedding"),
        ({"architectures": ["XForSequenceClassification"], "id2label": {"0": "good", "1": "bad"}}, False, "finetuned"),
        ({"architectures": ["XForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, False, "reranker"),
        ({"architectures": ["CLIPModel"], "model_type": "clip"}, False, "image-text"),
        (CAUSAL, False, "reranker"),
        (CAUSAL, True, "embedding"),
    ],
)
def test_the_kind_of_a_bare_id(config: dict[str, object], has_modules: bool, kind: str) -> None:
    assert kind_for("acme/Some-Reranker", ModelFiles(config, has_modules, None, None))[0] == kind


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for models that can't be had."""

    answers: ClassVar = {
        "gated": (403, "GatedRepo"),
        "secret": (401, "RepoNotFound"),
        "pinned": (404, "RevisionNotFound"),
    }

    def do_HEAD(self) -> None:
        name = self.path.split("/")[2]
        status, code = self.answers[name]
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gated", "Accept its terms"),
        ("secret", "no such model. Correct the id"),
        ("pinned", "no revision 'v9'"),
    ],
)
def test_what_the_hub_refuses(name: str, message: str, hub: str, tmp_path: Path) -> None:
    code = (
        "import sys; from classer_core import load_model, ModelSpec; "
        f"load_model(ModelSpec(id='finetuned:acme/{name}', revision='v9'))"
    )
    settings = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert f"model 'finetuned:acme/{name}' can't be loaded: " in done.stderr and message in done.stderr
