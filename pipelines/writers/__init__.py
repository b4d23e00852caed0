"""Writers: rows in, files of a folder or messages of a topic out; a table's are in `pipelines/bigquery`."""
