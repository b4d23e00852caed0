"""Small documents and pictures that tests make for themselves."""

import io
import zipfile

import pymupdf
from PIL import Image, ImageDraw, ImageFont

WORDS = "Invoice number 4711. Amount due: 250 euros. Please pay by bank transfer within 30 days."
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with these texts, one a page."""
    document = pymupdf.open()
    for text in pages:
        document.new_page().insert_textbox(pymupdf.Rect(50, 50, 550, 780), text, fontsize=12)
    if password:
        return document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw=password, owner_pw=password)
    return document.tobytes()


def scan(text: str, pages: int = 1) -> bytes:
    """A PDF whose pages are pictures of the text."""
    document = pymupdf.open()
    for _ in range(pages):
        page = document.new_page()
        page.insert_image(page.rect, stream=png(letter(text)))
    return document.tobytes()


def letter(text: str, size: tuple[int, int] = (800, 1000)) -> Image.Image:
    """A picture of a page."""
    picture = Image.new("RGB", size, "white")
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 38:
            lines.append("")
        lines[-1] += word + " "
    ImageDraw.Draw(picture).multiline_text((50, 60), "\n".join(lines), "black", ImageFont.load_default(32), spacing=12)
    return picture


def png(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    data = io.BytesIO()
    picture.save(data, "png")
    return data.getvalue()


def docx(*paragraphs: str, body: str = "", parts: dict[str, str] | None = None) -> bytes:
    """A DOCX with these paragraphs; `body` is XML that follows them."""
    text = "".join(f"<w:p><w:r><w:t>{paragraph}</w:t></w:r></w:p>" for paragraph in paragraphs)
    main = f'<?xml version="1.0"?><w:document xmlns:w="{W}"><w:body>{text}{body}</w:body></w:document>'
    types = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    rels = (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Target="word/document.xml" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
        'relationships/officeDocument"/></Relationships>'
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", rels)
        archive.writestr("word/document.xml", main)
        for name, content in (parts or {}).items():
            archive.writestr(name, content)
    return data.getvalue()


def endless_pdf() -> bytes:
    """A PDF of a kilobyte that takes for ever to draw: forms that draw forms, ten times each, twelve deep."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    objects.append(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /XObject << /F 5 0 R >> >> "
        "/Contents 4 0 R >>"
    )
    objects.append("<< /Length 5 >>\nstream\n/F Do\nendstream")
    calls = "/F Do " * 10
    for level in range(12):
        content = calls if level < 11 else "0 0 m 600 800 l S "
        resources = f"/Resources << /XObject << /F {6 + level} 0 R >> >>" if level < 11 else ""
        head = f"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Length {len(content)} {resources}"
        objects.append(f"<< {head} >>\nstream\n{content}\nendstream")
    body = "%PDF-1.4\n" + "".join(f"{n} 0 obj\n{content}\nendobj\n" for n, content in enumerate(objects, start=1))
    return (body + "trailer << /Root 1 0 R >>\n").encode()
