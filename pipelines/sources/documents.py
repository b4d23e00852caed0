"""Documents: each file is a record. With `watch`, new files keep coming."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator
from typing_extensions import override

from pipelines.sections import Seconds
from pipelines.sources import BoundedSource, PathSource, StreamSource

if TYPE_CHECKING:
    import apache_beam as beam
    import pyarrow as pa

    from pipelines.chunks import SourceChunk
    from pipelines.queues import QueueSettings
    from pipelines.readers import Columns
    from pipelines.selection import Selection

# Files of one record each that travel together.
DOCUMENTS_TOGETHER = 64


class DocumentSource(PathSource, BoundedSource, StreamSource):
    """Files that patterns match, each of which is a record."""

    format: Literal["documents"]
    watch: Seconds | None = None  # how often new files are looked for; the job is a stream then

    @model_validator(mode="after")
    def _is_seen_twice(self) -> Self:
        if self.stop_when_idle is not None and (self.watch is None or self.stop_when_idle <= 2 * self.watch):
            raise ValueError("stop_when_idle has to be longer than watch twice: a file is seen twice before it is read")
        return self

    @property
    def is_stream(self) -> bool:
        """Whether new files are waited for."""
        return self.watch is not None

    @override
    @property
    def own_files(self) -> tuple[str, ...]:
        return self.path

    def arrow_schema(self) -> pa.Schema:
        """Return no columns: a document is a record without any."""
        import pyarrow as pa

        return pa.schema([])

    def find_columns(self, selection: Selection) -> Columns:
        """Return the columns of documents; of watched ones, when each was written.

        Raises:
            JobError: no file, or the first one can't be read.
        """
        from classer_core.storage import read_start
        from classer_core.storage_errors import as_problem
        from pipelines.readers import Columns
        from pipelines.readers.files import matching_files
        from pipelines.selection import message_schema

        # Records are our own: each names a file, and nothing else.
        fields = {"file": "file"}
        if self.is_stream:
            names = selection.passthrough
            if isinstance(names, bool):
                names = ["event_time"] if names else []
            return Columns(fields, message_schema(names))
        first = min(matching_files(self.path))
        with as_problem("source.path", first):
            read_start(first, 1)
        return Columns(fields, self.arrow_schema())

    def parts(self, columns: Columns) -> Iterator[list[str]]:
        """Yield the paths of some documents at a time."""
        from pipelines.readers.files import list_files

        paths = sorted(path for path, _ in list_files(self.path))
        for start in range(0, len(paths), DOCUMENTS_TOGETHER):
            yield paths[start : start + DOCUMENTS_TOGETHER]

    def read(self, part: list[str], columns: Columns, folder: str) -> Iterator[SourceChunk]:
        """Yield one record for each document; its id is its path."""
        from pipelines.readers.files import list_documents

        yield list_documents(part, folder)

    def queue(self, folder: str, outputs: tuple[str, ...]) -> QueueSettings:
        """Return what looks for new files."""
        from pipelines.queues.folder import FolderQueueSettings

        assert self.watch is not None
        return FolderQueueSettings(self.path, self.watch, folder, outputs, self.max_future)

    def messages(self, folder: str) -> beam.PTransform[Any, Any]:
        """Return Beam's own look for new files."""
        from pipelines.streaming.connectors import WatchFiles

        assert self.watch is not None
        return WatchFiles(self.path, self.watch, folder, self.max_future)
