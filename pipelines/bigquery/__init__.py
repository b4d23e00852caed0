"""BigQuery as a source and as an output. The libraries of Google Cloud are the extra `gcp`, imported in `clients`."""
