"""Jobs: files of texts, classified by the pipeline of `classer run` in a process of its own.

    store       a job's state, in a folder of its own                 job.json
    manager     makes, starts and supervises jobs; one runs at a time
    process     what runs: lines -> records.parquet -> the pipeline -> results.ndjson
    lines, results    the two ends of it
    uploads, signing, endpoints    how clients reach them

A process that dies is begun anew, also by the next server; the cache has what it had answered.
"""
