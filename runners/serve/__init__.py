"""`classer serve`: the classification API over HTTP, on the engine, cache and saved classifiers of bulk jobs.

    wire        JSON of requests and responses
    errors      the error table
    keys, limits, model_queue, answering, classifiers, metrics    what requests share
    endpoints, frame, pages, app                      routes on Starlette
    protocol, server                                  uvicorn: limits before a request exists, signals, draining
    jobs/                                             asynchronous batches: uploads, processes, results

What is above `endpoints` knows nothing of the web framework, and is tested without it.
"""
