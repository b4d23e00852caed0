"""PublishFiles: the temporary files of a run become its output, in all its folders, or the last output stays as it was.

The names of files say which run they are of and how many it has: `part-00000-of-00002-<run>.parquet`. **The output of a
folder is that of the newest run whose files are all there**, at every moment:

    1. `_SUCCESS` goes          the last output is whole
    2. the new files appear     the last output is whole, until the last new file is there: then the new one is
    3. earlier files go         the new output is whole
    4. `_SUCCESS` comes back

While `_SUCCESS` is there, the folder holds nothing else. An error in 1 or 2 is undone. A process that is killed in
between leaves both; the next run settles it before anything else (`settle`).
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa

from classer_core.errors import AnotherRunError
from classer_core.fetching.rules import redacted
from classer_core.storage import (
    give_names,
    join,
    list_folders,
    open_writing,
    read_start,
    remove,
    remove_empty_folders,
    remove_folder,
    write_whole,
)
from pipelines.limits import Verdict
from pipelines.writers.files import OUR_FILE, name_of, ours, row_writer
from pipelines.writers.lease import check_held

log = logging.getLogger(__name__)

SUCCESS = "_SUCCESS"
NAME_BYTES = 200
# The lease is looked at again after so many files have got their names.
NAMES_TOGETHER = 32
RUN = re.compile(r"\d{8}T\d{6}_\w+")


class RowFolder(NamedTuple):
    """A folder that a job replaces: its path or URL, the format of its files and the schema of its rows."""

    path: str
    format: str
    schema: pa.Schema


class PublishFiles(beam.DoFn):
    """Publishes the temporary files of a run in all its folders, if the verdict on the run allows it.

    Safe to be tried again. An attempt that has slept while another run took a folder stops at its next step, and never
    deletes a file that is newer than itself: what it deletes was there when it began.

    Args:
        folders: what is replaced.
        run: name of this run, in letters, digits and underscores; part of every file's name.
        is_leased: whether the run holds its folders (`lease.held`) as long as it goes on.
    """

    def __init__(self, folders: Sequence[RowFolder], run: str, is_leased: bool = False) -> None:
        self._folders = tuple(folders)
        self._run = run
        self._is_leased = is_leased

    def process(self, _: None, verdict: Verdict, *temporary: list[str]) -> Iterable[str]:
        """Yield the names of the published files; `temporary` has those of each folder, in their order."""
        if not verdict.publishes:
            return
        self._check_newest()
        self._check()
        replaced = [_Replaced(folder.path) for folder in self._folders]
        new = list(map(self._new_names, self._folders, temporary))
        try:
            remove(join(folder.path, SUCCESS) for folder in self._folders)
            for names in new:
                for start in range(0, len(names), NAMES_TOGETHER):
                    self._check()
                    give_names(names[start : start + NAMES_TOGETHER])
        except Exception:
            self._undo(replaced, new)
            self._check()  # a run that has lost its folders says so, whatever it has stumbled over
            raise
        for before, names in zip(replaced, new, strict=True):
            self._check()
            gone = set(before.files) - {target for _, target in names}
            remove(gone)
            remove_empty_folders(before.folder, gone)
        for folder in self._folders:
            self._check()
            write_whole(join(folder.path, SUCCESS), self._run.encode())
        self._check()
        self._remove_temporary()
        yield from (name_of(target) for names in new for _, target in names)

    def _new_names(self, folder: RowFolder, temporary: list[str]) -> list[tuple[str, str]]:
        """Return (temporary, final) paths; an output without rows is a file, so that readers find the columns."""
        if not temporary:
            temporary = [join(folder.path, "_temporary", self._run, f"empty.{folder.format}")]
            with open_writing(temporary[0]) as file:
                row_writer(file, folder.format, folder.schema).close()
        total = len(temporary)
        written = join(folder.path, "_temporary", self._run)
        names = []
        for index, source in enumerate(sorted(temporary)):
            partitions = source.removeprefix(written).strip("/").split("/")[:-1]
            name = f"part-{index:05d}-of-{total:05d}-{self._run}.{folder.format}"
            names.append((source, join(folder.path, *partitions, name)))
        return names

    def _check(self) -> None:
        """Stop where another run has taken a folder."""
        for folder in self._folders:
            check_held(folder.path, self._run, self._is_leased)

    def _check_newest(self) -> None:
        """Stop a run that was given up for dead: a later one took the folder, and has ended since."""
        for folder in self._folders:
            last = last_success(folder.path)
            if last is not None and is_later(last, self._run):
                message = f"was written by run {last}, which is later than this one ({self._run}): its rows stay"
                raise AnotherRunError(f"{redacted(folder.path)} {message}.")

    def _undo(self, replaced: Sequence[_Replaced], new: Sequence[list[tuple[str, str]]]) -> None:
        """Put the last output back as it was, as far as the storage lets us: the error of before is the one raised."""
        for before, names in zip(replaced, new, strict=True):
            try:
                remove({target for _, target in names} - set(before.files))
                check_held(before.folder, self._run, self._is_leased)
                if before.success is not None:
                    write_whole(join(before.folder, SUCCESS), before.success.encode())
            except Exception as error:
                message = "%s: could not be put back as it was (%s); its next run does it"
                log.warning(message, redacted(before.folder), type(error).__name__)

    def _remove_temporary(self) -> None:
        """Remove files of this run and of earlier ones, which have died; a later one may be writing."""
        for folder in self._folders:
            temporary = join(folder.path, "_temporary")
            try:
                runs = [name_of(path) for path in list_folders(temporary)]
                earlier = [run for run in runs if not is_later(run, self._run)]
                for path in [join(temporary, run) for run in earlier] if len(earlier) < len(runs) else [temporary]:
                    remove_folder(path)
            except Exception as error:  # all rows are published
                log.warning("%s can't be removed (%s); the next run tries again", temporary, type(error).__name__)


class _Replaced:
    """The content of a folder before it was replaced."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files = ours(folder)
        self.success = last_success(folder)


def settle(folders: Sequence[str]) -> None:
    """Finish, or undo, what a run has left that was killed while it published. The caller holds the folders."""
    files = {folder: files_by_run(folder) for folder in folders}
    if all(len(runs) <= 1 and last_success(folder) == next(iter(runs), None) for folder, runs in files.items()):
        return
    whole = newest_whole(files.values())
    if whole is None:
        return
    for folder, runs in files.items():
        remove([join(folder, SUCCESS)])
        remove(path for run, paths in runs.items() if run != whole for path in paths)
        write_whole(join(folder, SUCCESS), whole.encode())


def newest_whole(folders: Iterable[dict[str, list[str]]]) -> str | None:
    """Return the newest run whose files are all there in all folders (`files_by_run`); None if there is none."""
    whole = [{run for run, paths in runs.items() if is_whole(paths)} for runs in folders]
    return max(set.intersection(*whole), default=None) if whole else None


def is_whole(files: Sequence[str]) -> bool:
    """Return whether the files of one run in one folder are as many as their names say."""
    found = OUR_FILE.match(name_of(files[0]))
    return found is not None and len(files) == int(found["total"])


def files_by_run(folder: str) -> dict[str, list[str]]:
    """Return run -> its published files."""
    runs: dict[str, list[str]] = {}
    for path in ours(folder):
        if found := OUR_FILE.match(name_of(path)):
            runs.setdefault(found["run"], []).append(path)
    return runs


def output_files(folder: str) -> list[str]:
    """Return the files of a folder's output: those of the newest run that is whole."""
    runs = files_by_run(folder)
    whole = newest_whole([runs])
    return runs[whole] if whole is not None else []


def last_success(folder: str) -> str | None:
    """Return what `_SUCCESS` says; None without one."""
    with contextlib.suppress(FileNotFoundError):
        return read_start(join(folder, SUCCESS), NAME_BYTES).decode(errors="replace")
    return None


def is_later(run: str, other: str) -> bool:
    """Return whether a run began after another, as their names say, to the second."""
    return RUN.fullmatch(run) is not None and run.partition("_")[0] > other.partition("_")[0]
