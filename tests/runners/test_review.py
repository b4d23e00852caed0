"""`classer review`: from a job's output over the page to gold rows that other commands read."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from classer_core.errors import JobError
from pipelines.gold import read_gold
from pipelines.job import Job, load_job
from runners.cli import app
from runners.local import run_job
from runners.review.rows import review_of
from runners.review.server import ReviewServer
from tests.browser import contrasts, fits, open_browser
from tests.classer_core.evaluation.test_page import ATTACK
from tests.fakes import load

LABELS = ["billing", "technical"]


def job(folder: Path, texts: list[str], **more: Any) -> Job:
    lines = [json.dumps({"n": n, "body": text}) for n, text in enumerate(texts)]
    (folder / "rows.ndjson").write_text("\n".join(lines))
    source = {"format": "ndjson", "path": "rows.ndjson", "columns": {"id": "n", "text": "body"}}
    document = {"source": source, "labels": LABELS, "output": {"path": "out"}, "cache": "none", **more}
    (folder / "job.yaml").write_text(json.dumps(document))
    return load_job(folder / "job.yaml")


@contextmanager
def served(asked: Job, file: Path, size: int = 20) -> Iterator[ReviewServer]:
    server = ReviewServer(review_of(asked, file, size), "job.yaml", "classer tune job.yaml")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def call(server: ReviewServer, action: str, body: Any = None, token: str | None = None, host: str | None = None) -> Any:
    """(status, body) of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if host is None else {"Host": host}
    path = f"/{server.token if token is None else token}/{action}"
    connection.request("GET" if data is None else "POST", path, data, headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_answers_become_gold_rows(tmp_path: Path) -> None:
    asked = job(tmp_path, [*["billing"] * 10, *["technical"] * 10])
    run_job(asked, tmp_path, load=load)
    file = tmp_path / "tickets.gold.ndjson"
    with served(asked, file) as server:
        for _ in range(20):
            row = json.loads(call(server, "state")[1])["row"]
            status, state = call(server, "answer", {"id": row["id"], "labels": row["labels"], "note": ""})
            assert status == 200
    assert json.loads(state)["row"] is None and json.loads(state)["accuracy"]["value"] == 1
    gold = read_gold(asked, str(file), "label", str(tmp_path))
    assert gold.source is not None and gold.labels["3"] == ("billing",) and len(gold.labels) == 20


def test_strangers_and_nonsense_are_refused(tmp_path: Path) -> None:
    asked = job(tmp_path, ["billing"])
    run_job(asked, tmp_path, load=load)
    with served(asked, tmp_path / "x.gold.ndjson") as server:
        assert call(server, "", token="guessed")[0] == 404
        assert call(server, "state", token="")[0] == 404
        assert call(server, "state", host="evil.example:80")[0] == 404, "a name that leads here"
        for body in (b"no json", b"[]", b"{}", json.dumps({"id": "0", "labels": ["c"], "note": ""}).encode()):
            assert call(server, "answer", body)[0] == 400
        assert call(server, "delete", {})[0] == 400
        assert call(server, "state")[0] == 200
    assert not (tmp_path / "x.gold.ndjson").exists()


def test_what_can_not_be_reviewed_is_said(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="has no rows with texts to review"):
        review_of(job(tmp_path, ["billing"]), tmp_path / "x", 10)
    own = job(tmp_path, ["billing"], labels=["a"])
    with pytest.raises(JobError, match="are the records' own"):
        review_of(own.model_copy(update={"labels": None}), tmp_path / "x", 10)
    wrong = CliRunner().invoke(app, ["review", str(tmp_path / "job.yaml"), "--save", "../x"])
    assert wrong.exit_code == 2


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def progress(browser: webdriver.Chrome, said: str) -> None:
    WebDriverWait(browser, 5).until(lambda page: said in page.find_element(By.ID, "progress").text)


@pytest.mark.integration
def test_a_person_reviews_by_keyboard(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Label keys, none of these, skip, undo and a note; hostile texts stay texts, and nothing comes from elsewhere."""
    asked = job(tmp_path, [f"{LABELS[n % 2]} {ATTACK}" for n in range(6)])
    run_job(asked, tmp_path, load=load)
    file = tmp_path / "tickets.gold.ndjson"
    with served(asked, file) as server:
        browser.get(server.address)
        progress(browser, "0 reviewed, 6 left")
        assert ATTACK in browser.find_element(By.ID, "text").text and browser.title == "Review of job.yaml"
        assert fits(browser) and not browser.find_elements(By.CSS_SELECTOR, "img")
        body = browser.find_element(By.TAG_NAME, "body")
        body.send_keys("1")
        progress(browser, "1 reviewed, 5 left")
        body.send_keys("0")
        progress(browser, "2 reviewed, 4 left")
        body.send_keys("u")
        progress(browser, "1 reviewed, 5 left")
        note = browser.find_element(By.ID, "note")
        note.send_keys("2 of them" + Keys.ESCAPE)
        browser.find_element(By.CSS_SELECTOR, "#labels button:nth-child(2)").click()
        progress(browser, "2 reviewed, 4 left")
        body.send_keys("s")
        for left in (3, 2, 1, 0):
            body.send_keys("2")
            progress(browser, f"{left} left")
        assert browser.find_element(By.ID, "end").is_displayed()
        assert "classer tune job.yaml" in browser.find_element(By.ID, "end").text
        assert "right (95%" in browser.find_element(By.ID, "progress").text
        elsewhere = "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin))"
        assert browser.execute_script(elsewhere) == []
        assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
        seen = contrasts(browser, ".panel")
        assert seen["light"][0] - seen["light"][1] > 150 and seen["dark"][1] - seen["dark"][0] > 150, seen
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["label"] for row in rows] == ["billing", *["technical"] * 5]
    assert [row["note"] for row in rows] == [None, "2 of them", None, None, None, None]


@pytest.mark.integration
def test_from_the_first_row_to_a_saved_version(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Labels whose names say nothing: run, review of 40 rows in the browser, tune, and run with the saved version."""
    kinds = {"desk one": ["goal", "striker", "penalty", "referee"], "desk two": ["onions", "oven", "butter", "recipe"]}
    sentences = ["We talked about the {} yesterday", "Is the {} any good?", "My {} was late", "Nobody saw the {}"]
    words = [word for kind in kinds.values() for word in kind]
    texts = [f"{sentence.format(word)}, case {n}" for n in range(6) for sentence in sentences for word in words]
    asked = job(tmp_path, texts, labels=list(kinds))
    run_job(asked, tmp_path)
    file = tmp_path / "desks.gold.ndjson"
    with served(asked, file, 40) as server:
        browser.get(server.address)
        for left in range(40, 0, -1):
            progress(browser, f", {left} left")
            text = browser.find_element(By.ID, "text").text
            right = next(label for label, named in kinds.items() if any(word in text for word in named))
            browser.find_element(By.TAG_NAME, "body").send_keys("12"[list(kinds).index(right)])
        progress(browser, ", 0 left")
    path = tmp_path / "job.yaml"
    done = CliRunner().invoke(app, ["tune", str(path), "--gold", str(file), "--save", "desks"])
    assert done.exit_code == 0, done.output
    tuned = load_job(path, ["classifier=desks", "labels=null"])
    assert tuned.labels is None
    run_job(tuned, tmp_path)
    rows = pq.read_table(tmp_path / "out").to_pylist()
    right = sum(any(word in row["body"] for word in kinds[row["label"]]) for row in rows)
    assert right > 0.9 * len(rows) and {row["classifier"] for row in rows} == {"desks@v1"}
