"""`classer serve`: the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classer_core.errors import JobError, Problem
from runners.console import drop_noise, err
from runners.exits import exit_codes

if TYPE_CHECKING:
    from runners.serve.settings import Settings

EXIT_CANT_LISTEN = 1


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8000,
    job_file: Annotated[
        Path | None,
        typer.Option("--job", metavar="JOB.yaml", help="Takes models, cache, classifiers and hosts of a job file."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="As in a job file.")] = None,
    visual_model: Annotated[str | None, typer.Option(help="As in a job file.")] = None,
    classifiers: Annotated[str | None, typer.Option(metavar="FOLDER", help="Saved classifiers: path or URL.")] = None,
    cache: Annotated[str | None, typer.Option(metavar="URL", help="sqlite:///, redis://, env:NAME or none.")] = None,
    keys: Annotated[Path | None, typer.Option(metavar="FILE", help="API keys; read again on SIGHUP.")] = None,
    jobs: Annotated[Path, typer.Option(metavar="FOLDER", help="Files of asynchronous batches.")] = Path(),
    public_url: Annotated[str | None, typer.Option(metavar="URL", help="What clients reach this server at.")] = None,
    root_path: Annotated[str, typer.Option(metavar="/PREFIX", help="Prefix of all paths behind a proxy.")] = "",
    cors_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Origin whose pages may call; repeat for more.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM.")] = None,
    max_body_mib: Annotated[int, typer.Option(min=1, help="Of one request, in MiB.")] = 64,
) -> None:
    """Answers the classification API over HTTP.

    SIGTERM answers what was accepted and ends with exit code 0. Exit codes: 2 wrong options, 1 it can't listen.
    """
    drop_noise()
    with exit_codes():
        from runners.serve.settings import Settings

        _need_extra()
        settings = Settings(
            host=host,
            port=port,
            keys=keys,
            jobs=jobs,
            public_url=public_url,
            root_path=root_path.rstrip("/"),
            cors_origins=tuple(cors_origin or ()),
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            max_body_bytes=max_body_mib << 20,
        )
        if job_file is not None:
            from pipelines.job import load_job

            settings = settings.of_job(load_job(job_file))
        given = {"model": model, "visual_model": visual_model, "classifiers": classifiers, "cache": cache}
        settings = replace(settings, **_given(given)).completed()
        _check(settings)
        _run(settings)


def _given(options: dict[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _need_extra() -> None:
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'classer-pipelines[serve]'"
        raise JobError([Problem("classer serve", str(error.name), "is not installed", remedy)]) from error


def _check(settings: Settings) -> None:
    """Look at options that are only understood by others, before anything starts.

    Raises:
        JobError: one is wrong.
    """
    from classer_core.cache import parse_cache_url

    try:
        parse_cache_url(settings.cache)
    except ValueError as error:
        raise JobError([Problem("--cache", "", str(error), "docs/serve.md has examples.")]) from None
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise JobError([Problem("--tls-certificate", "", "needs --tls-key, and the other way round", "Give both.")])
    for name in ("tls_certificate", "tls_key"):
        file = getattr(settings, name)
        if file is not None and not file.is_file():
            raise JobError([Problem(f"--{name.replace('_', '-')}", str(file), "is not a file", "Correct the path.")])
    if settings.root_path and not settings.root_path.startswith("/"):
        raise JobError([Problem("--root-path", settings.root_path, "does not begin with /", "Example: /classer")])


def _run(settings: Settings) -> None:
    """Serve until a signal ends the server.

    Raises:
        ClasserError: the engine can't be loaded.
        typer.Exit: it can't listen.
    """
    from runners.serve.logs import log_as_json
    from runners.serve.server import Server

    server = Server(settings)
    log_as_json()
    if settings.keys is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        err.print(f"Whoever reaches {settings.host}:{settings.port} may use this server: --keys asks for keys.")
    err.print(f"http{'s' if settings.tls_key else ''}://{settings.host}:{settings.port}", highlight=False)
    try:
        server.run()
    except SystemExit:  # uvicorn has logged why
        raise typer.Exit(EXIT_CANT_LISTEN) from None
    if server.error is not None:
        raise server.error
