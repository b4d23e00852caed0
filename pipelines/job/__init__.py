"""The job file: what is read, how it is classified, where the rows go. Checked here, before anything runs."""

from pipelines.job.loading import document_of, load_job, parse_job
from pipelines.job.model import Job

__all__ = ["Job", "document_of", "load_job", "parse_job"]
