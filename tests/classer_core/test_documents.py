"""Documents through the sandbox: their pages, their damage, and what hostile ones can't do."""

import io
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from classer_core import FailureCode, RecordError
from classer_core.documents.expanded import LENGTH_BYTES, Expanded, ExpandRequest, receive
from classer_core.documents.sandbox import Sandbox
from tests import documents as make


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    pool = Sandbox(1)
    yield pool
    pool.close()


def expand(sandbox: Sandbox, data: bytes, looks: str = "thin", truncate: bool = False) -> Expanded | RecordError:
    return sandbox.expand([(data, ExpandRequest("file", looks, 400, truncate, 0))])[0]


def texts(answer: Expanded | RecordError) -> list[str]:
    assert isinstance(answer, Expanded), answer
    return [" ".join(page.text.split()) for page in answer.pages]


def code(answer: Expanded | RecordError) -> FailureCode:
    assert isinstance(answer, RecordError)
    return answer.code


def test_a_pdf_gives_the_text_of_every_page(sandbox: Sandbox) -> None:
    answer = expand(sandbox, make.pdf("The first page is about soup.", "The second page is about cars."))
    assert texts(answer) == ["The first page is about soup.", "The second page is about cars."]
    assert isinstance(answer, Expanded) and all(page.image is None for page in answer.pages)


@pytest.mark.parametrize("kept", [120, 200, 400])
@pytest.mark.parametrize("looks", ["none", "thin"])
def test_a_pdf_of_which_repair_leaves_nothing_is_damaged(sandbox: Sandbox, kept: int, looks: str) -> None:
    answer = expand(sandbox, make.pdf(make.WORDS)[:kept], looks)
    assert isinstance(answer, RecordError) and answer.code in ("document_damaged", "document_empty"), answer


def test_a_blank_page_is_not_damage(sandbox: Sandbox) -> None:
    assert texts(expand(sandbox, make.pdf(""))) == [""]


def test_a_pdf_without_its_end_keeps_its_text(sandbox: Sandbox) -> None:
    data = make.pdf("The first page is about soup.")
    assert texts(expand(sandbox, data[: data.rindex(b"xref")])) == ["The first page is about soup."]


@pytest.mark.parametrize(("looks", "drawn"), [("none", [False, False]), ("thin", [False, True]), ("all", [True, True])])
def test_only_pages_that_are_looked_at_are_drawn(sandbox: Sandbox, looks: str, drawn: list[bool]) -> None:
    answer = expand(sandbox, make.pdf(make.WORDS, "stamp"), looks)
    assert isinstance(answer, Expanded)
    assert [page.image is not None for page in answer.pages] == drawn
    for page in answer.pages:
        if page.image is not None:
            assert max(page.image.width, page.image.height) == 400
            assert len(page.image.rgb) == page.image.width * page.image.height * 3
            assert len(set(page.image.rgb)) > 1


def test_too_many_pages_fail_or_are_cut(sandbox: Sandbox) -> None:
    long = make.pdf(*(f"This is page number {n} of the long report." for n in range(25)))
    assert code(expand(sandbox, long)) == FailureCode.TOO_MANY_PAGES
    cut = expand(sandbox, long, truncate=True)
    assert isinstance(cut, Expanded)
    assert (len(cut.pages), cut.coverage) == (20, 0.8)


def test_a_damaged_pdf_is_repaired(sandbox: Sandbox) -> None:
    data = make.pdf("Repair finds these words.")
    lost = data[data.index(b"\n") + 1 : data.rindex(b"startxref")]  # neither header nor table of contents
    assert texts(expand(sandbox, lost)) == ["Repair finds these words."]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (make.pdf("secret", password="pw"), FailureCode.DOCUMENT_ENCRYPTED),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), FailureCode.DOCUMENT_ENCRYPTED),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), FailureCode.DOCUMENT_UNSUPPORTED),
        (b"", FailureCode.DOCUMENT_EMPTY),
        (b" \n\n", FailureCode.DOCUMENT_EMPTY),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, FailureCode.DOCUMENT_DAMAGED),
        (b"just some words", FailureCode.DOCUMENT_UNSUPPORTED),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", FailureCode.DOCUMENT_UNSUPPORTED),
        (make.docx("cut short")[:400], FailureCode.DOCUMENT_UNSUPPORTED),
        (make.docx("x", body="<w:p>" * 5_000 + "</w:p>" * 5_000), FailureCode.DOCUMENT_DAMAGED),
        (make.docx("x", body="<w:t>" + "0" * 100_000_000 + "</w:t>"), FailureCode.DOCUMENT_TOO_LARGE),
        (make.docx("x", parts={f"word/x{n}.xml": "" for n in range(5_001)}), FailureCode.DOCUMENT_TOO_LARGE),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_kind_of_trouble_has_its_code(sandbox: Sandbox, data: bytes, expected: FailureCode) -> None:
    assert code(expand(sandbox, data)) == expected
    assert texts(expand(sandbox, make.pdf("The next one is well."))) == ["The next one is well."]


def test_a_doctype_is_refused(sandbox: Sandbox) -> None:
    entities = '<!DOCTYPE w:document [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    assert code(expand(sandbox, _with_prolog(make.docx("&x;"), entities))) == FailureCode.DOCUMENT_DAMAGED
    assert texts(expand(sandbox, _with_prolog(make.docx("x"), "<!-- harmless -->"))) == ["x"]


def _with_prolog(data: bytes, prolog: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(out, "w") as made:
        for name in given.namelist():
            content = given.read(name).decode()
            made.writestr(name, content.replace("?>", "?>" + prolog, 1) if name == "word/document.xml" else content)
    return out.getvalue()


def test_a_docx_gives_its_text_by_words_own_pages(sandbox: Sandbox) -> None:
    second = "<w:p><w:r><w:lastRenderedPageBreak/><w:t>second page</w:t></w:r></w:p>"
    deleted = "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    header = f'<w:hdr xmlns:w="{make.W}"><w:p><w:r><w:t>letterhead</w:t></w:r></w:p></w:hdr>'
    data = make.docx("first page", body=table + deleted + second, parts={"word/header1.xml": header})
    assert texts(expand(sandbox, data)) == ["letterhead first page cell", "second page"]


def test_a_docx_is_drawn_with_its_tables(sandbox: Sandbox) -> None:
    answer = expand(sandbox, make.docx("Words on the page", make.WORDS), "all")
    assert isinstance(answer, Expanded)
    image = answer.pages[0].image
    assert image is not None and max(image.width, image.height) == 400
    assert min(image.rgb) < 100 < 250 < max(image.rgb)  # black letters on white paper


def test_a_hanging_document_fails_alone() -> None:
    sandbox = Sandbox(2, timeout_s=1)
    start = time.monotonic()
    endless, *well = sandbox.expand(
        [(data, ExpandRequest("file", "all", 400, False, 0)) for data in [make.endless_pdf(), *[make.pdf("well")] * 20]]
    )
    assert code(endless) == FailureCode.DOCUMENT_TIMEOUT
    assert all(texts(answer) == ["well"] for answer in well)
    assert time.monotonic() - start < 20
    sandbox.close()


def test_a_document_that_eats_memory_fails_alone() -> None:
    sandbox = Sandbox(1, memory_bytes=500 << 20)
    huge = make.png(Image.new("RGB", (11_000, 11_000)))
    hungry, well = sandbox.expand(
        [(data, ExpandRequest("file", "all", 10_000, False, 0)) for data in (huge, make.pdf("well"))]
    )
    assert code(hungry) == FailureCode.DOCUMENT_MEMORY
    assert texts(well) == ["well"]
    sandbox.close()


def test_a_crashing_parser_fails_its_document_alone() -> None:
    sandbox = Sandbox(1)
    task = (make.endless_pdf(), ExpandRequest("file", "all", 400, False, 0))
    answers: list[Expanded | RecordError] = []
    thread = threading.Thread(target=lambda: answers.extend(sandbox.expand([task])))
    thread.start()
    deadline = time.monotonic() + 30
    while (process := sandbox._children[0]._process) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process is not None
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGSEGV)
    thread.join(30)
    assert code(answers[0]) == FailureCode.DOCUMENT_CRASHED
    assert texts(expand(sandbox, make.pdf("well"))) == ["well"]
    sandbox.close()


def test_a_process_that_has_grown_is_replaced() -> None:
    """Half of its memory is for the next document."""
    for memory_bytes, stays in ((2 << 30, True), (340 << 20, False)):
        sandbox = Sandbox(1, memory_bytes=memory_bytes)
        for _ in range(2):
            assert texts(expand(sandbox, make.pdf("well"))) == ["well"]
            assert (sandbox._children[0]._process is not None) == stays
        sandbox.close()


def test_processes_see_no_secrets_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    sandbox = Sandbox(1)
    expand(sandbox, make.pdf("x"))
    process = sandbox._children[0]._process
    assert process is not None
    if Path("/proc").is_dir():
        assert b"hunter2" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    sandbox.close()
    assert process.returncode is not None


@pytest.mark.parametrize("lengths", [[-1], [1 << 40], [200 << 20, 200 << 20]])
def test_a_parser_that_was_taken_over_fills_no_memory(lengths: list[int]) -> None:
    asked = []

    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return super().read(size)

    packed = json.dumps({"blobs": lengths}).encode()
    assert receive(Pipe(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)) is None
    assert asked == [LENGTH_BYTES, len(packed)]
