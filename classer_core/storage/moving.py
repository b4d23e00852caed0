"""Rename, link and remove many files and objects at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from classer_core.durable import make_folder, sync_folders
from classer_core.filesystems import AT_ONCE, is_url, open_filesystem
from classer_core.patience import patient
from classer_core.storage.listing import list_prefix
from classer_core.storage.writing import NO_LINKS


def move(moves: Iterable[tuple[str, str]]) -> None:
    """Rename files or objects (source, target) of one filesystem; moves that are done already are skipped."""
    moves = list(moves)
    _at_once(_move, moves)
    sync_names(target for _, target in moves)


def give_names(names: Iterable[tuple[str, str]]) -> None:
    """Give files or objects (source, target) a second name; those that have it already are skipped.

    Objects are copied and local files linked. On filesystems without hard links, files are moved instead.
    """
    names = list(names)
    _at_once(_give_name, names)
    sync_names(target for _, target in names)


def sync_names(paths: Iterable[str]) -> None:
    """Sync the names of local files to the disk; URLs are ignored, as objects are durable once written."""
    sync_folders(Path(path).parent for path in paths if not is_url(path))


def remove(paths: Iterable[str]) -> None:
    """Delete files or objects; missing ones are ignored."""
    _at_once(_remove, paths)


def remove_folder(folder: str) -> None:
    """Delete a folder and everything in it; a missing folder is ignored."""
    if is_url(folder):
        remove(file.path for file in list_prefix(folder.rstrip("/") + "/"))
    else:
        _remove_tree(folder)


def remove_empty_folders(folder: str, removed: Iterable[str]) -> None:
    """Delete the folders of removed files, below a folder, that are empty now. Object stores have no folders."""
    if is_url(folder):
        return
    for path in {Path(path).parent for path in removed}:
        while path != Path(folder) and path.is_relative_to(folder):
            try:
                path.rmdir()
            except OSError:  # not empty, or gone already
                break
            path = path.parent


@patient
def _move(paths: tuple[str, str]) -> None:
    source, target = paths
    if not is_url(source):
        make_folder(Path(target).parent)
        try:
            Path(source).replace(target)
        except FileNotFoundError:
            if not Path(target).exists():
                raise
        return
    _copy(source, target)
    _remove(source)


@patient
def _give_name(paths: tuple[str, str]) -> None:
    source, target = paths
    if is_url(source):
        _copy(source, target)
        return
    make_folder(Path(target).parent)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS and not isinstance(error, FileNotFoundError):
            raise
        _move(paths)


def _copy(source: str, target: str) -> None:
    files, old = open_filesystem(source)
    _, new = open_filesystem(target)
    try:
        files.cp_file(old, new)
    except FileNotFoundError:
        if not files.isfile(new):
            raise


@patient
def _remove(path: str) -> None:
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    files, path = open_filesystem(path)
    with contextlib.suppress(FileNotFoundError):
        files.rm_file(path)


@patient
def _remove_tree(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _at_once(function: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(function, items):
            pass
