"""`hosu serve`: the whole lake in one command."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from hosu.kernel.errors import HosuError

Address = Annotated[str | None, typer.Option(help="Where S3 is served, host:port; `:9000` means all interfaces.")]
ConsoleAddress = Annotated[str | None, typer.Option(help="Where the status page is served, host:port.")]
Folder = Annotated[Path, typer.Argument(help="The lake's folder; made if missing.", show_default=False)]
Workers = Annotated[int | None, typer.Option(help="Processes that serve S3.")]
Certificate = Annotated[str | None, typer.Option(help="PEM file of the server's certificate; with --key, serves TLS.")]
Key = Annotated[str | None, typer.Option(help="PEM file of the certificate's private key.")]
CertsDir = Annotated[str | None, typer.Option(help="Folder of public.crt and private.key, as MinIO's; serves TLS.")]
DaySeconds = Annotated[int | None, typer.Option(help="Seconds that a day of every rule lasts; for tests of rules.")]
LogLevel = Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("serve")(serve)
    app.command("server")(server)


def serve(
    directory: Folder,
    address: Address = None,
    console_address: ConsoleAddress = None,
    workers: Workers = None,
    log_level: LogLevel = None,
    certificate: Certificate = None,
    key: Key = None,
    certs_dir: CertsDir = None,
    day_seconds: DaySeconds = None,
) -> None:
    """Serve the lake in DIRECTORY until Ctrl-C, by default on 127.0.0.1 only."""
    flags = {
        "address": address, "console_address": console_address, "workers": workers, "log_level": log_level,
        "certificate_file": certificate, "key_file": key, "certs_dir": certs_dir,
        "day_seconds": day_seconds,
    }  # fmt: skip
    _run(directory, flags, default_root=None)


def server(
    directory: Folder,
    address: Address = None,
    console_address: ConsoleAddress = None,
    workers: Workers = None,
    log_level: LogLevel = None,
    certificate: Certificate = None,
    key: Key = None,
    certs_dir: CertsDir = None,
    day_seconds: DaySeconds = None,
) -> None:
    """Serve as MinIO does: on all interfaces, and as minioadmin:minioadmin unless MINIO_ROOT_USER says otherwise."""
    from hosu.server.credentials import MINIO_DEFAULT

    flags = {
        "address": address, "console_address": console_address, "workers": workers, "log_level": log_level,
        "certificate_file": certificate, "key_file": key, "certs_dir": certs_dir,
        "day_seconds": day_seconds,
    }  # fmt: skip
    defaults = {"address": ":9000", "console_address": ":9001"}
    _run(directory, flags, defaults=defaults, default_root=MINIO_DEFAULT)


def _run(
    directory: Path,
    flags: Mapping[str, object],
    *,
    defaults: Mapping[str, object] | None = None,
    default_root: tuple[str, str] | None,
) -> None:
    from hosu.kernel.lakekey import load_lake_key
    from hosu.kernel.settings import load_settings
    from hosu.server.app import Server

    try:
        settings = load_settings(directory, os.environ, flags, defaults=defaults or {})
        lake_key = load_lake_key(settings, os.environ, directory)
        running = Server(directory, settings, default_root=default_root, lake_key=lake_key)
        _greet(running, default_root)
        running.run()
    except HosuError as error:
        typer.echo(f"hosu: {error.message}", err=True)
        raise typer.Exit(1) from None


def _greet(running: object, default_root: tuple[str, str] | None) -> None:
    """Say where everything is, and root's credentials the one time they are new."""
    from hosu.server.app import Server

    assert isinstance(running, Server)
    scheme = "https" if running.is_secure else "http"
    lines = [
        f"hosu serves {running.lake}",
        f"  S3      {scheme}://{_reachable(running.s3_address)}",
        f"  status  {scheme}://{_reachable(running.console_address)}",
    ]
    root = running.root
    if root.is_new:
        lines += [
            f"  root's credentials, shown this once and kept in {root.file}:",
            f"    access key  {root.access_key}",
            f"    secret      {root.secret}",
        ]
    elif root.file is not None:
        lines.append(f"  root's credentials are kept in {root.file}")
    elif (root.access_key, root.secret) == default_root:
        lines.append("  WARNING: root is minioadmin:minioadmin; set MINIO_ROOT_USER and MINIO_ROOT_PASSWORD")
    typer.echo("\n".join(lines))
    sys.stdout.flush()


def _reachable(address: tuple[str, int]) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(address[0], address[0])  # noqa: S104 - shown, not bound
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
