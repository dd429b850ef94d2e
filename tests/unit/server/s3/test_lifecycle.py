"""S3's document of lifecycle rules: read strictly, and written as it was read."""

from xml.etree.ElementTree import Element

import pytest

from hosu.kernel.errors import HosuError
from hosu.rules.lifecycle.model import Filter, Lifecycle, NoncurrentTransition, Rule, Transition, check_lifecycle
from hosu.server.s3.errors import s3_code
from hosu.server.s3.lifecycle import _expiration, _rule_xml, read_lifecycle
from hosu.server.s3.xml_read import parse

CLASSES = frozenset({"COLD", "GLACIER"})
ENABLED = "<Status>Enabled</Status>"
DAY = "<Expiration><Days>1</Days></Expiration>"
PREFIX = "<Filter><Prefix>a/</Prefix></Filter>"


def document(*rules: str) -> Element:
    return parse(
        f"<LifecycleConfiguration>{''.join(rules)}</LifecycleConfiguration>".encode(), "LifecycleConfiguration"
    )


def read(*rules: str) -> Lifecycle:
    found = read_lifecycle(document(*(f"<Rule>{rule}</Rule>" for rule in rules)), CLASSES)
    check_lifecycle(found)
    return found


WHOLE = (
    "<ID>all</ID><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>"
    "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>"
    "<Status>Enabled</Status><Expiration><Days>9</Days></Expiration>"
    "<Transition><Days>1</Days><StorageClass>COLD</StorageClass></Transition>"
    "<Transition><Days>2</Days><StorageClass>GLACIER</StorageClass></Transition>"
    "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions>"
    "<StorageClass>COLD</StorageClass></NoncurrentVersionTransition>"
    "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>4</NewerNoncurrentVersions>"
    "</NoncurrentVersionExpiration>"
)


def test_all_that_a_rule_can_say_is_read() -> None:
    (rule,) = read(WHOLE).rules
    assert rule == Rule(
        "all",
        filter=Filter("a/", {"k": "v"}, 5, 9, "and"),
        expire_days=9,
        noncurrent_days=3,
        noncurrent_keep=4,
        transitions=(Transition("COLD", 1), Transition("GLACIER", 2)),
        noncurrent_transitions=(NoncurrentTransition("COLD", 1, 2),),
    )


@pytest.mark.parametrize(
    "rule",
    [
        WHOLE,
        f"<ID>r</ID><Prefix>old/</Prefix>{ENABLED}{DAY}",
        f"<ID>r</ID><Prefix></Prefix>{ENABLED}{DAY}",
        f"<ID>r</ID><Filter></Filter>{ENABLED}{DAY}",
        f"<ID>r</ID><Filter><Prefix></Prefix></Filter>{ENABLED}{DAY}",
        f"<ID>r</ID><Filter><Tag><Key>a&amp;b</Key><Value></Value></Tag></Filter>{ENABLED}{DAY}",
        f"<ID>r</ID><Filter><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></Filter>{ENABLED}{DAY}",
        f"<ID>r</ID><Filter><And><Prefix>a</Prefix></And></Filter>{ENABLED}{DAY}",
        f"<ID>r</ID>{PREFIX}<Status>Disabled</Status><Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>",
        f"<ID>r</ID>{PREFIX}{ENABLED}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        (
            f"<ID>r</ID>{PREFIX}{ENABLED}<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload>"
        ),
        (
            f"<ID>r</ID>{PREFIX}{ENABLED}<NoncurrentVersionExpiration><NewerNoncurrentVersions>3</NewerNoncurrentVersions>"
            "</NoncurrentVersionExpiration>"
        ),
        (
            f"<ID>r</ID>{PREFIX}{ENABLED}<Transition><Date>2030-01-01T00:00:00.000Z</Date><StorageClass>COLD</StorageClass>"
            "</Transition>"
        ),
    ],
)
def test_a_rule_is_shown_as_it_was_given(rule: str) -> None:
    assert _rule_xml(read(rule).rules[0]) == f"<Rule>{rule}</Rule>"


def test_rules_without_an_id_get_one_of_their_own() -> None:
    first, second = read(f"{PREFIX}{ENABLED}{DAY}", f"<ID></ID>{PREFIX}{ENABLED}{DAY}").rules
    assert first.id
    assert second.id
    assert first.id != second.id


def test_blanks_of_a_prefix_count() -> None:
    (rule,) = read(f"<Filter><Prefix> a /</Prefix></Filter>{ENABLED}{DAY}").rules
    assert rule.prefix == " a /"


def test_of_conditions_side_by_side_all_must_hold() -> None:
    (rule,) = read(
        "<Filter><Prefix>a/</Prefix><Tag><Key>t</Key><Value>1</Value></Tag><And><Prefix>a</Prefix>"
        f"<Tag><Key>u</Key><Value>2</Value></Tag></And></Filter>{ENABLED}{DAY}"
    ).rules
    assert rule.filter == Filter("a/", {"t": "1", "u": "2"}, form="and")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (f"{ENABLED}{DAY}", "MalformedXML"),
        (f"<Prefix>a</Prefix>{PREFIX}{ENABLED}{DAY}", "MalformedXML"),
        (f"{PREFIX}{DAY}", "MalformedXML"),
        (f"{PREFIX}<Status>enabled</Status>{DAY}", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Expiration></Expiration>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Expiration><Days>one</Days></Expiration>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Expiration><Date>tomorrow</Date></Expiration>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>", "InvalidArgument"),
        (f"{PREFIX}{ENABLED}<Expiration><Date>1969-01-01T00:00:00Z</Date></Expiration>", "InvalidArgument"),
        (f"{PREFIX}{ENABLED}<Expiration><Date>9999-12-31T12:00:00-12:00</Date></Expiration>", "InvalidArgument"),
        (f"{PREFIX}{ENABLED}<Expiration><Days>0</Days></Expiration>", "InvalidArgument"),
        (f"{PREFIX}{ENABLED}{DAY}{DAY}", "MalformedXML"),
        (f"{PREFIX}{ENABLED}{DAY}<Unknown/>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<DelMarkerExpiration><Days>1</Days></DelMarkerExpiration>", "NotImplemented"),
        (
            (f"{PREFIX}{ENABLED}<Expiration><Days>1</Days><ExpiredObjectAllVersions>true</ExpiredObjectAllVersions>"
            "</Expiration>"),
            "NotImplemented",
        ),
        (f"{PREFIX}{ENABLED}", "InvalidRequest"),
        (f"{PREFIX}{ENABLED}<NoncurrentVersionExpiration></NoncurrentVersionExpiration>", "MalformedXML"),
        (
            (f"{PREFIX}{ENABLED}<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
            "<NewerNoncurrentVersions>0</NewerNoncurrentVersions></NoncurrentVersionExpiration>"),
            "InvalidArgument",
        ),
        (f"{PREFIX}{ENABLED}<AbortIncompleteMultipartUpload></AbortIncompleteMultipartUpload>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Transition><Days>1</Days></Transition>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Transition><StorageClass>COLD</StorageClass></Transition>", "MalformedXML"),
        (f"{PREFIX}{ENABLED}<Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition>",
         "InvalidStorageClass"),
        (f"{PREFIX}{ENABLED}<Transition><Days>1</Days><StorageClass>STANDARD</StorageClass></Transition>",
         "InvalidStorageClass"),
        (f"<Filter><Prefix>a</Prefix><And><Prefix>b</Prefix></And></Filter>{ENABLED}{DAY}", "MalformedXML"),
        (f"<Filter><ObjectSizeLessThan>0</ObjectSizeLessThan></Filter>{ENABLED}{DAY}", "InvalidArgument"),
    ],
)  # fmt: skip
def test_rules_that_s3_refuses_are_refused_with_its_code(rule: str, code: str) -> None:
    with pytest.raises(HosuError) as refused:
        read(rule)
    assert s3_code(refused.value)[0] == code


def test_a_document_without_rules_and_one_with_too_many_are_malformed() -> None:
    for rules in ([], [f"<Rule>{PREFIX}{ENABLED}{DAY}</Rule>"] * 1001):
        with pytest.raises(HosuError) as refused:
            read_lifecycle(document(*rules), CLASSES)
        assert s3_code(refused.value)[0] == "MalformedXML"


def test_the_last_day_that_is_taken_can_be_shown() -> None:
    (rule,) = read(f"{PREFIX}{ENABLED}<Expiration><Date>9999-12-31T00:00:00Z</Date></Expiration>").rules
    assert "<Date>9999-12-31T00:00:00.000Z</Date>" in _rule_xml(rule)


def test_the_header_holds_dates_beyond_its_calendar_and_ids_beyond_its_alphabet() -> None:
    assert _expiration(1 << 60, "a") == b'expiry-date="Fri, 31 Dec 9999 00:00:00 GMT", rule-id="a"'
    assert _expiration(0, 'a b"\r\n\u00e9%') == (
        b'expiry-date="Thu, 01 Jan 1970 00:00:00 GMT", rule-id="a b%22%0D%0A%C3%A9%25"'
    )
