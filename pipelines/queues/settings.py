"""The queue that a job names, as settings that open it. Client libraries are imported where one is wanted."""

from __future__ import annotations

from pipelines.job import Job
from pipelines.job.sections import FileOutput, FileSource, KafkaSource, PubSubSource
from pipelines.queues import QueueSettings


def queue_settings(job: Job, folder: str) -> QueueSettings:
    """A streaming job in, what opens its queue out; paths of documents are called relative to `folder`."""
    source = job.source
    if isinstance(source, FileSource):
        from pipelines.queues.folder import FolderQueueSettings

        assert source.watch is not None
        return FolderQueueSettings(source.path, source.watch, folder, output_folders(job), source.max_future)
    if isinstance(source, PubSubSource):
        from pipelines.queues.pubsub import PubSubQueueSettings

        return PubSubQueueSettings(source.subscription, source.timestamp_attribute, source.max_future)
    assert isinstance(source, KafkaSource)
    from pipelines.queues.kafka import KafkaQueueSettings
    from pipelines.queues.kafka_cluster import KafkaCluster

    cluster = KafkaCluster(source.bootstrap_servers, source.options)
    return KafkaQueueSettings(cluster, source.topic, source.group, source.timestamp_attribute, source.max_future)


def output_folders(job: Job) -> tuple[str, ...]:
    """The folders in which the files of a stream hold ids."""
    return tuple(output.path for output in (job.output, job.failures_output) if isinstance(output, FileOutput))
