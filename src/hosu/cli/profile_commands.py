"""`hosu profile`: the named endpoints of one person."""

from typing import Annotated

import typer

from hosu.cli import options

app = typer.Typer(help="Named endpoints with their credentials.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The PROFILE of hosu://PROFILE/BUCKET/KEY.")]


@app.command("set")
def set_profile(
    name: Name,
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="URL", help="Such as https://s3.example.org:9000.")],
    access_key: Annotated[str, typer.Option("--access-key", envvar="HOSU_ACCESS_KEY", help="Access key id.")],
    secret_key: Annotated[
        str,
        typer.Option(
            "--secret-key",
            envvar="HOSU_SECRET_KEY",
            prompt=True,
            hide_input=True,
            help="Secret key; asked for if left out.",
        ),
    ],
    region: Annotated[str, typer.Option("--region", help="Region that requests are signed for.")] = "us-east-1",
    path_style: Annotated[
        bool, typer.Option("--path-style/--virtual-host-style", help="Where the bucket goes in a URL.")
    ] = True,
) -> None:
    """Add or replace a profile."""
    with options.explained("profile set"):
        from hosu.cli.profiles import Profile, Profiles

        Profiles.of_user().save(name, Profile(endpoint, access_key, secret_key, region, path_style))


@app.command("ls")
def list_profiles(json_lines: options.Json = False) -> None:
    """List profiles, without their secrets."""
    with options.explained("profile ls", json_lines=json_lines):
        from hosu.cli.output import Output
        from hosu.cli.profiles import LOCAL_ENDPOINT, Profiles

        output = Output(json_lines=json_lines)
        saved = Profiles.of_user().saved()
        rows = [(name, item.endpoint, item.access_key) for name, item in sorted(saved.items())]
        if "local" not in saved:
            rows.insert(0, ("local", LOCAL_ENDPOINT, "from the environment"))
        for name, endpoint, access_key in rows:
            fields = {"operation": "profile ls", "name": name, "endpoint": endpoint, "access_key": access_key}
            output.row(fields, f"{name:<16}{endpoint:<40}{access_key}")


@app.command("rm")
def remove_profile(name: Name) -> None:
    """Forget a profile."""
    with options.explained("profile rm"):
        from hosu.cli.profiles import Profiles

        Profiles.of_user().remove(name)
