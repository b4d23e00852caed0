"""Writers of files in a folder and of messages in a topic; those of tables are in `pipelines/bigquery`."""
