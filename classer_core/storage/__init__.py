"""Files and folders by path or URL (`gs://`, `s3://`, or any other that fsspec supports), with few requests.

Credentials and endpoints are those of the libraries: Google's default credentials and `STORAGE_EMULATOR_HOST`, `AWS_*`.
"""

from classer_core.filesystems import is_url, join, scheme_of
from classer_core.storage.listing import StoredFile, list_folder, list_folders, list_prefix
from classer_core.storage.moving import give_names, move, remove, remove_empty_folders, remove_folder, sync_names
from classer_core.storage.reading import open_once, read_start
from classer_core.storage.writing import open_writing, write_new, write_whole

__all__ = [
    "StoredFile",
    "give_names",
    "is_url",
    "join",
    "list_folder",
    "list_folders",
    "list_prefix",
    "move",
    "open_once",
    "open_writing",
    "read_start",
    "remove",
    "remove_empty_folders",
    "remove_folder",
    "scheme_of",
    "sync_names",
    "write_new",
    "write_whole",
]
