"""Files of this machine and of a filesystem of fsspec's, by the same functions; servers are in tests/pipelines."""

import errno
import time
from pathlib import Path

import pytest

from classer_core import storage
from classer_core.source_file import open_reading
from classer_core.storage import (
    join,
    list_folder,
    list_folders,
    list_prefix,
    move,
    open_writing,
    read_start,
    remove,
)


@pytest.fixture(params=["local", "memory", "file"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folders = {"local": str(tmp_path), "memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}"}
    return f"{folders[request.param]}/folder"


def put(path: str, data: bytes = b"x") -> str:
    with open_writing(path) as file:
        file.write(data)
    return path


def names(folder: str) -> list[str]:
    return [found.path.rpartition("/")[2] for found in list_folder(folder)]


def content(path: str) -> bytes:
    with open_reading(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "scheme"),
    [("gs://b/x", "gs"), ("S3://b/x", "s3"), ("/a/b", ""), ("a:b/c", "a"), ("C:\\x", ""), ("data/x-*.csv", "")],
)
def test_schemes(path: str, scheme: str) -> None:
    assert storage.scheme_of(path) == scheme


def test_a_colon_makes_no_url() -> None:
    assert storage.is_url("gs://b/x") and storage.is_url("memory://x")
    assert not any(map(storage.is_url, ["run:1.json", "/data/10:30.csv", "C:\\data", "x"]))


def test_files_of_a_folder_are_those_in_it(folder: str) -> None:
    assert list_folder(folder) == []
    put(join(folder, "b"), b"four")
    put(join(folder, "a"))
    put(join(folder, "deep", "c"))
    put(f"{folder}-not/d")
    found = list_folder(folder)
    assert [(one.path, one.size) for one in found] == [(join(folder, "a"), 1), (join(folder, "b"), 4)]
    assert all(abs(time.time() - one.modified) < 60 for one in found)


def test_folders_of_a_folder(folder: str) -> None:
    assert list_folders(folder) == []
    for name in ("a", "b/c", "b/d", "e/f/g"):
        put(join(folder, name))
    assert list_folders(folder) == [join(folder, "b"), join(folder, "e")]


def test_a_small_file_and_a_large_one(folder: str) -> None:
    """A large one is read from wherever one likes."""
    small, large = put(join(folder, "small"), b"123"), put(join(folder, "large"), bytes(range(256)) * 16_384)
    assert (content(small), read_start(small, 2), content(put(join(folder, "empty"), b""))) == (b"123", b"12", b"")
    assert (len(content(large)), len(read_start(large, 10))) == (4 << 20, 10)
    with open_reading(large) as file:
        file.seek(-256, 2)
        assert file.read() == bytes(range(256))
        file.seek(5)
        assert file.read(3) == b"\x05\x06\x07"
    with pytest.raises(FileNotFoundError):
        open_reading(join(folder, "none"))


def test_a_new_file_is_made_once(folder: str) -> None:
    storage.write_new(join(folder, "a"), b"first")
    with pytest.raises(FileExistsError):
        storage.write_new(join(folder, "a"), b"second")
    assert content(join(folder, "a")) == b"first"
    storage.write_whole(join(folder, "a"), b"third")
    assert (content(join(folder, "a")), names(folder)) == (b"third", ["a"])


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a mounted bucket."""

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr("os.link", link)
    storage.write_new(join(str(tmp_path), "a"), b"first")
    with pytest.raises(FileExistsError):
        storage.write_new(join(str(tmp_path), "a"), b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert content(join(str(tmp_path), "a")) == b"first"


def test_a_file_may_go_while_a_folder_is_listed(tmp_path: Path) -> None:
    """Signs of life are written beside the rows."""
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "folder").mkdir()
    assert names(str(tmp_path)) == ["there"]


def test_moves_are_done_once(folder: str) -> None:
    moves = [(put(join(folder, "from", str(n)), str(n).encode()), join(folder, "to", str(n))) for n in range(50)]
    move(moves)
    move(moves)
    assert list_folder(join(folder, "from")) == []
    assert [content(target) for _, target in moves] == [str(n).encode() for n in range(50)]
    with pytest.raises(FileNotFoundError):
        move([(join(folder, "none"), join(folder, "to", "none"))])


def test_a_folder_is_removed_and_its_neighbours_are_not(folder: str) -> None:
    put(join(folder, "deep", "a"))
    put(join(folder, "b"))
    neighbour = put(f"{folder}-not/c")
    remove([join(folder, "b"), join(folder, "none")])
    assert names(folder) == []
    storage.remove_folder(folder)
    storage.remove_folder(folder)
    with pytest.raises(FileNotFoundError):
        content(join(folder, "deep", "a"))
    assert content(neighbour) == b"x"


def test_a_prefix_is_a_beginning_of_names(tmp_path: Path) -> None:
    base = f"memory://{tmp_path.name}"
    for name in ("in/a-1", "in/a-2", "in/a/3", "in/b", "in-not/a"):
        put(f"{base}/{name}")
    assert [found.path for found in list_prefix(f"{base}/in/a")] == [f"{base}/in/{n}" for n in ("a-1", "a-2", "a/3")]
    assert len(list(list_prefix(f"{base}/in/"))) == 4
    for none in ("memory://", "memory://in"):
        with pytest.raises(FileNotFoundError):
            list(list_prefix(none))
