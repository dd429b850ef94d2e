import stat
from pathlib import Path

import pytest

from hosu.cli.faults import UsageFault
from hosu.cli.profiles import Profile, Profiles, config_path

PROFILE = Profile("https://s3.example.org:9000", "key", 'se"cr\\et', "eu-west-1", path_style=False)


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "hosu" / "config.toml", {})


def test_a_profile_comes_back_as_saved_and_only_its_owner_can_read_it(profiles: Profiles) -> None:
    profiles.save("a.b-c", PROFILE)
    profiles.save("other", Profile("http://h", "k", "s"))
    assert profiles.get("a.b-c") == PROFILE
    assert stat.S_IMODE(profiles.path.stat().st_mode) == 0o600
    profiles.remove("other")
    assert list(profiles.saved()) == ["a.b-c"]


def test_a_file_that_others_can_read_is_refused_with_the_remedy(profiles: Profiles) -> None:
    profiles.save("lab", PROFILE)
    profiles.path.chmod(0o644)
    with pytest.raises(UsageFault, match="chmod 600"):
        profiles.get("lab")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[profile]\n", "did you mean 'profiles'"),
        ('[profiles.a]\nendpont = "x"\n', "did you mean 'endpoint'"),
        ('[profiles.a]\nendpoint = "http://x"\n', "lacks access_key, secret_key"),
        ('[profiles.a]\nendpoint = 3\naccess_key = "a"\nsecret_key = "b"\n', "write a str"),
        ('[profiles.a]\nendpoint = "nope"\naccess_key = "a"\nsecret_key = "b"\n', "is not a URL"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(profiles: Profiles, body: str, message: str) -> None:
    profiles.path.parent.mkdir()
    profiles.path.write_text(body)
    profiles.path.chmod(0o600)
    with pytest.raises(UsageFault, match=message):
        profiles.saved()


@pytest.mark.parametrize("prefix", ["HOSU", "MINIO"])
def test_local_takes_the_root_credentials_of_the_environment(tmp_path: Path, prefix: str) -> None:
    environment = {f"{prefix}_ROOT_USER": "admin", f"{prefix}_ROOT_PASSWORD": "password123"}
    local = Profiles(tmp_path / "none", environment).get("local")
    assert (local.endpoint, local.access_key, local.secret_key) == ("http://127.0.0.1:9000", "admin", "password123")


def test_local_without_credentials_says_which_to_set(profiles: Profiles) -> None:
    with pytest.raises(UsageFault, match="HOSU_ROOT_USER"):
        profiles.get("local")


def test_an_unknown_profile_names_the_nearest(profiles: Profiles) -> None:
    profiles.save("labor", PROFILE)
    with pytest.raises(UsageFault, match="did you mean 'labor'"):
        profiles.get("labr")


def test_secrets_do_not_show_in_representations() -> None:
    assert PROFILE.secret_key not in repr(PROFILE)


def test_a_relative_xdg_folder_is_ignored() -> None:
    assert config_path({"XDG_CONFIG_HOME": "relative"}).is_absolute()
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/hosu/config.toml")
