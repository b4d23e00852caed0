"""Records with attachments in, pages out; DOCX through LibreOffice where it is installed."""

import http.server
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO

import pytest

from classer_core import Classifier, FailureCode, Record, RecordError
from classer_core.contents import Attachment, Content, Page, PixelNeeds
from classer_core.documents.expander import Expander
from classer_core.documents.office import Office
from classer_core.documents.sandbox import Sandbox
from tests import documents as make

LABELS = Classifier.of(["a", "b"])


class NoOffice(Office):
    """A machine without LibreOffice."""

    def __init__(self) -> None:
        super().__init__()
        self._program = None


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    pool = Sandbox(1)
    yield pool
    pool.close()


def record(*attachments: Attachment, text: str = "") -> Record:
    return Record("r", text, LABELS, attachments=attachments)


def file(data: bytes) -> Attachment:
    return Attachment("file", 1, "x", data)


def image(data: bytes, number: int = 1) -> Attachment:
    return Attachment("image", number, "x", data)


def pages(content: Content | RecordError) -> list[Page]:
    assert isinstance(content, Content), content
    return content.pages


def test_text_pictures_and_pages_stand_in_one_content(sandbox: Sandbox) -> None:
    picture = make.png(make.letter("hello"))
    given = record(image(picture, 1), image(picture, 2), file(make.pdf("page one", "page two")), text="a note")
    [content] = Expander(PixelNeeds("thin", 300), sandbox=sandbox, office=NoOffice()).expand([given])
    found = pages(content)
    assert [page.place for page in found] == ["text", "image 1", "image 2", "page 1", "page 2"]
    assert [page.pixels is not None for page in found] == [False, True, True, True, True]
    assert found[3].text.strip() == "page one"


def test_one_bad_attachment_fails_its_record_alone(sandbox: Sandbox) -> None:
    picture = make.png(make.letter("hello"))
    bad, good = Expander(PixelNeeds("thin", 300), sandbox=sandbox, office=NoOffice()).expand(
        [record(image(picture), image(b"no picture", 2)), record(image(picture))]
    )
    assert isinstance(bad, RecordError)
    assert (bad.code, bad.field) == (FailureCode.IMAGE_UNSUPPORTED, "image")
    assert bad.message.startswith("image 2: ")
    assert len(pages(good)) == 1


def test_without_libreoffice_docx_pages_are_drawn_from_html(sandbox: Sandbox) -> None:
    [content] = Expander(PixelNeeds("all", 300), sandbox=sandbox, office=NoOffice()).expand(
        [record(file(make.docx("words")))]
    )
    assert [page.pixels is not None for page in pages(content)] == [True]


@pytest.mark.integration
def test_docx_pages_are_as_libreoffice_prints_them(sandbox: Sandbox) -> None:
    """A document that it can't open is read without it, and costs its neighbours nothing."""
    breaks = '<w:p><w:r><w:br w:type="page"/><w:t>second</w:t></w:r></w:p>'
    documents = [make.docx("first", body=breaks), _with_garbled_part(make.docx("still readable")), make.docx("third")]
    contents = Expander(PixelNeeds("all", 800), sandbox=sandbox).expand([record(file(data)) for data in documents])
    assert [[" ".join(page.text.split()) for page in pages(content)] for content in contents] == [
        ["first", "second"],
        ["still readable"],
        ["third"],
    ]
    for page in pages(contents[0]) + pages(contents[2]):
        assert page.pixels is not None and page.pixels.min() < 100 < 250 < page.pixels.max()


@pytest.mark.integration
def test_libreoffice_reaches_nothing_that_a_document_names() -> None:
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_OPTIONS = do_PROPFIND = do_GET  # noqa: N815

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    [pdf] = Office().to_pdf([_with_linked_picture(f"http://127.0.0.1:{server.server_address[1]}/x.png")])
    server.shutdown()
    server.server_close()
    assert pdf is not None and pdf.startswith(b"%PDF")
    assert asked == []


@pytest.mark.integration
def test_a_call_of_libreoffice_ends_in_time() -> None:
    assert Office(timeout_s=0.1).to_pdf([make.docx("x"), make.docx("y")]) == [None, None]


def _with_garbled_part(data: bytes) -> bytes:
    """LibreOffice wants the relations between the parts to be XML; the text is there without them."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as given, zipfile.ZipFile(out, "w") as made:
        for name in given.namelist():
            made.writestr(name, b"\xff\xfe<<" if name == "_rels/.rels" else given.read(name))
    return out.getvalue()


def _with_linked_picture(url: str) -> bytes:
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    drawing = "http://schemas.openxmlformats.org/drawingml/2006"
    picture = (
        f'<w:p><w:r><w:drawing><wp:inline xmlns:wp="{drawing}/wordprocessingDrawing">'
        '<wp:extent cx="990000" cy="790000"/><wp:docPr id="1" name="p"/>'
        f'<a:graphic xmlns:a="{drawing}/main"><a:graphicData uri="{drawing}/picture">'
        f'<pic:pic xmlns:pic="{drawing}/picture"><pic:nvPicPr><pic:cNvPr id="1" name="p"/><pic:cNvPicPr/></pic:nvPicPr>'
        f'<pic:blipFill><a:blip xmlns:r="{relation}" r:link="rId9"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill>'
        '<pic:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="990000" cy="790000"/></a:xfrm><a:prstGeom prst="rect">'
        "<a:avLst/></a:prstGeom></pic:spPr></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    relations = (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId9" Type="{relation}/image" Target="{url}" TargetMode="External"/></Relationships>'
    )
    return make.docx("a linked picture", body=picture, parts={"word/_rels/document.xml.rels": relations})
