"""Templates: what they hold, what is refused in them, and the access table of the smart door."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hosu
from hosu.identity.authority import Authority
from hosu.kernel.errors import ErrorKind, HosuError
from hosu.lake.templates import load_template, template_names

READ, WRITE, DELETE, LIST = "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"
PREFIXES = ("images", "datasets", "models", "annotations", "other")
DOOR = {
    "door-system": {"images": {READ, WRITE, DELETE, LIST}},
    "door-training": {"datasets": {READ, LIST}, "models": {WRITE, LIST}},
    "door-data-manager": {"datasets": {WRITE, DELETE, LIST}},
    "door-inference": {"models": {READ, LIST}},
    "door-labelling": {"annotations": {READ, WRITE, DELETE, LIST}},
    "viewer": {prefix: {READ, LIST} for prefix in PREFIXES},
}
"""The smart door's access table: what each service may do below which prefix; everything else is denied."""

TIERS = {
    "medallion": {
        "medallion-ingest": {"bronze": {READ, WRITE, LIST}},
        "medallion-transform": {
            "bronze": {READ, LIST},
            "silver": {READ, WRITE, DELETE, LIST},
            "gold": {READ, WRITE, DELETE, LIST},
        },
        "medallion-analyst": {"gold": {READ, LIST}},
        "medallion-mlflow": {"mlflow": {READ, WRITE, DELETE, LIST}},
    },
    "streaming": {
        "streaming-pipeline": {
            bucket: {READ, WRITE, DELETE, LIST} for bucket in ("paimon", "checkpoints", "warehouse")
        },
        "streaming-analyst": {"paimon": {READ, LIST}, "warehouse": {READ, LIST}},
    },
}


def test_the_access_table_of_the_smart_door_holds_and_everything_else_is_denied(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template("smart-door")
        lake.create_bucket("another")
        allowed: dict[str, dict[str, set[str]]] = {}
        for name, prefix, action in itertools.product(DOOR, PREFIXES, (READ, WRITE, DELETE)):
            if lake.policies.explain(name, action, f"ai-door-system/{prefix}/a/b.bin").is_allowed:
                allowed.setdefault(name, {}).setdefault(prefix, set()).add(action)
            assert not lake.policies.explain(name, action, f"another/{prefix}/a/b.bin").is_allowed
        for name, prefix in itertools.product(DOOR, PREFIXES):
            if lake.policies.explain(name, LIST, "ai-door-system", {"s3:prefix": [f"{prefix}/a/"]}).is_allowed:
                allowed.setdefault(name, {}).setdefault(prefix, set()).add(LIST)
        assert allowed == DOOR
        for name in DOOR:
            for action in ("s3:DeleteBucket", "s3:PutBucketPolicy", "s3:CreateBucket"):
                assert not lake.policies.explain(name, action, "ai-door-system").is_allowed
            assert lake.policies.explain(name, LIST, "ai-door-system").is_allowed is (name == "viewer")


@pytest.mark.parametrize("template", sorted(TIERS))
def test_each_role_of_a_template_reaches_its_buckets_and_no_other(tmp_path: Path, template: str) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template(template)
        roles = TIERS[template]
        buckets = [bucket.name for bucket in lake.buckets()]
        assert {user.name for user in lake.users.list()} == set(roles)
        for name, bucket, action in itertools.product(roles, buckets, (READ, WRITE, DELETE, LIST)):
            resource = bucket if action == LIST else f"{bucket}/a"
            expected = action in roles[name].get(bucket, set())
            assert lake.policies.explain(name, action, resource).is_allowed is expected, (name, bucket, action)


def test_the_layout_of_the_smart_door_is_read_through_its_aliases(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        lake.apply_template("smart-door")
        door = lake.bucket("ai-door-system")
        door.put("models/training/v1.0.0/best.pt", b"weights")
        assert door.get("models/production/current/best.pt") == b"weights"
        assert door.get("datasets/current/.keep") == b""


def test_templates_share_no_names_so_that_one_lake_can_have_them_all(tmp_path: Path) -> None:
    templates = [load_template(name) for name in template_names()]
    assert [template.name for template in templates] == ["medallion", "smart-door", "streaming"]
    for names in (
        [bucket.name for template in templates for bucket in template.buckets],
        [name for template in templates for name in template.policies],
        [user.name for template in templates for user in template.users],
    ):
        assert len(names) == len(set(names))
    with hosu.open(tmp_path / "lake") as lake:
        for template in templates:
            assert {step.state for step in lake.apply_template(template).steps} == {"made"}


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        outcome = lake.apply_template("streaming")
    assert outcome.keys
    assert all(key.secret not in repr(outcome) for key in outcome.keys)


GOOD_POLICY = '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


@pytest.mark.parametrize(
    ("text", "policy", "named"),
    [
        ("summary = ", GOOD_POLICY, "is not a template"),
        ("sumary = 'x'", GOOD_POLICY, "sumary"),
        ("summary = 'x'\n[[bucket]]\nname = 'abc'", GOOD_POLICY, "bucket"),
        ("summary = 'x'\n[[buckets]]\nname = 'A'", GOOD_POLICY, "'A'"),
        ("summary = 'x'\n[[buckets]]\nname = 'abc'\n[[buckets]]\nname = 'abc'", GOOD_POLICY, "'abc' is there twice"),
        ("summary = 'x'\n[[buckets]]\nname = 'abc'\nfolders = ['a']", GOOD_POLICY, "'a' of bucket 'abc' must end"),
        (
            "summary = 'x'\n[[buckets]]\nname = 'abc'\nfolders = ['v1/']\naliases = {'now/' = 'v2/'}",
            GOOD_POLICY,
            "add it to its folders",
        ),
        ("summary = 'x'\n[[users]]\nname = 'abc'\npolicies = ['other']", GOOD_POLICY, "add other.json"),
        ("summary = 'x'\n[[users]]\nname = 'abc'\n[[users]]\nname = 'abc'", GOOD_POLICY, "'abc' is there twice"),
        ("summary = 'x'", '{"Statement": [{"Effect": "Alow"}]}', "mine.json: "),
        ("summary = 'x'", "{", "mine.json: "),
    ],
)
def test_a_template_that_is_wrong_is_refused_before_anything_is_made(
    tmp_path: Path, text: str, policy: str, named: str
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "template.toml").write_text(text)
    (own / "mine.json").write_text(policy)
    with pytest.raises(HosuError) as caught:
        load_template(own)
    assert named in caught.value.message


def test_a_folder_without_a_template_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(HosuError) as caught:
        load_template(tmp_path)
    assert caught.value.kind is ErrorKind.INVALID_ARGUMENT
    assert str(tmp_path / "template.toml") in caught.value.message


def test_of_two_that_make_a_template_at_once_one_makes_it(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as first, hosu.open(tmp_path / "lake") as second:
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda lake: lake.apply_template("streaming"), (first, second)))
        assert sorted(len(outcome.keys) for outcome in outcomes) == [0, 2]
        (made,) = [outcome.keys for outcome in outcomes if outcome.keys]
        authority = Authority(second.store, ("", ""))
        assert [authority.secrets(key.access_key) for key in made] == [(key.secret,) for key in made]
