"""The texts of gold rows, for the commands that learn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.job import Job


def labelled_texts(job: Job, folder: str, gold: str | None, column: str) -> list[tuple[str, str]]:
    """Return (text, label) of the rows of a gold file; none without a file.

    Args:
        job: the job.
        folder: relative paths in records start here.
        gold: a file as `read_gold` takes it.
        column: of the right labels.

    Raises:
        JobError: the file can't be read, or has labels that the job lacks.
    """
    from classer_core.documents.expander import expanded_texts
    from pipelines.gold import read_gold
    from pipelines.sample import records_of

    if gold is None:
        return []
    known = read_gold(job.spelled_out(), gold, column, folder)
    source = known.source or job.source
    named = [] if known.source else job.record_fields  # the columns of a gold file are all mapped
    records = records_of(job.model_copy(update={"source": source, "record_fields": named}), folder, known.labels.keys())
    texts = zip(records, expanded_texts(records), strict=True)
    return [(text, label) for record, text in texts if text for label in known.labels[record.id][:1]]
