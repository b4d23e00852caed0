"""The kinds of sources and outputs that a job may name, told apart by their `format`: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pipelines.outputs.bigquery import BigQueryOutput
from pipelines.outputs.files import FileOutput
from pipelines.outputs.topics import KafkaOutput, PubSubOutput
from pipelines.sources.bigquery import BigQuerySource
from pipelines.sources.documents import DocumentSource
from pipelines.sources.files import FileSource
from pipelines.sources.queues import KafkaSource, PubSubSource


def _with_default_format(value: Any) -> Any:
    """Return an output's section with the format that it has unless it says so."""
    if isinstance(value, Mapping) and "format" not in value:
        return {"format": FileOutput.model_fields["format"].default, **value}
    return value


AnySource = Annotated[
    FileSource
    | DocumentSource
    | PubSubSource
    | KafkaSource
    | BigQuerySource,
    Field(discriminator="format"),
]  # fmt: skip
AnyOutput = Annotated[
    FileOutput
    | PubSubOutput
    | KafkaOutput
    | BigQueryOutput,
    Field(discriminator="format"),
    BeforeValidator(_with_default_format),
]  # fmt: skip
