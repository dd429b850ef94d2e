"""`hosu lakekey`: the one key outside of a lake that everything sealed inside depends on."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hosu.cli import lakes, options

if TYPE_CHECKING:
    from hosu.kernel.lakekey import LakeKey

app = typer.Typer(help="The lake key, kept outside of the lake.", no_args_is_help=True)


def register(typer_app: typer.Typer) -> None:
    """Add the verbs."""
    typer_app.add_typer(app, name="lakekey")


@app.command("generate")
def generate() -> None:
    """Print a new lake key, for a file that only the server can read."""
    with options.explained("lakekey generate"):
        from hosu.kernel.lakekey import encode_key
        from hosu.kernel.sealing import new_key

        sys.stdout.write(encode_key(new_key()).decode())


@app.command("status")
def status(lake: lakes.Folder, json_lines: options.Json = False, quiet: options.Quiet = False) -> None:
    """Say where the lake key is and what its fingerprint is, never the key."""
    with lakes.opened("lakekey status", lake, json_lines, quiet) as (opened, output):
        keys = opened.store.keys
        place = "outside" if keys.is_outside else "inside" if keys.fingerprint else "none"
        told = {
            "outside": "outside of the lake's folder",
            "inside": "in the lake's folder: credentials are sealed, objects cannot be encrypted",
            "none": "not made yet",
        }[place]
        fields = {"operation": "lakekey status", "place": place, "fingerprint": keys.fingerprint}
        lines = [("lake key", told), ("fingerprint", keys.fingerprint), ("named keys", len(keys.key_names()))]
        lakes.say_record(output, {**fields, "named_keys": len(keys.key_names())}, lines)


@app.command("rotate")
def rotate(
    lake: lakes.Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Holds the new key; outside of the lake's folder.")],
    json_lines: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring a lake that no server serves under another lake key; configure the new one before the next start."""
    with options.explained("lakekey rotate", json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.kernel.lakekey import load_lake_key
        from hosu.kernel.settings import Settings
        from hosu.objects.encryption.rotation import rewrap

        output = Output(json_lines=json_lines, quiet=quiet)
        old = _present(lake)
        new = load_lake_key(Settings(lake_key_file=str(file)), {}, lake)
        assert new is not None, "a file was named"
        count = rewrap(lake, old, new)
        fields = {"operation": "lakekey rotate", "fingerprint": new.fingerprint, "named_keys": count}
        output.event(fields, f"{count} versions of named keys are under the lake key {new.fingerprint}")
        output.note(f"configure the new key before the lake is opened again: lake_key_file = {str(file)!r}")


def _present(lake: Path) -> "LakeKey":
    """Return the lake key that a lake is under now: the configured one, or the one in its folder."""
    from hosu.kernel.errors import ConflictError, ErrorKind
    from hosu.kernel.lakekey import load_lake_key
    from hosu.lake.opening import lake_settings
    from hosu.objects.encryption.lakekeys import load_inside_key
    from hosu.objects.store import FORMAT_NAME

    if not (lake / FORMAT_NAME).is_file():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is not a lake: check the path")
    found = load_lake_key(lake_settings(lake), os.environ, lake) or load_inside_key(lake / "meta")
    if found is None:
        raise ConflictError(
            ErrorKind.LAKE_KEY_MISSING, f"{lake} has no lake key yet: configure the new one, and nothing is to rotate"
        )
    return found
