"""The text that Prometheus scrapes, read back by its own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hosu.server.metrics.families import COUNTER, GAUGE, HISTOGRAM, Spec, Values, render_list

SPECS = (
    Spec("a_total", COUNTER, "g", "Counts\nin two lines", ("server", "api")),
    Spec("a_bytes", COUNTER, "g", "A counter without the ending", ("server",)),
    Spec("a_bytes_free", GAUGE, "g", "Free"),
    Spec("a_seconds", HISTOGRAM, "g", "Times", ("api",)),
)


def values() -> Values:
    return Values(SPECS, {"server": "here:9000"})


def test_labels_are_the_common_ones_and_those_given_in_order() -> None:
    made = values()
    made.add("a_total", 3, 'get"\n\\')
    (family,) = text_string_to_metric_families(made.render().decode())
    (sample,) = family.samples
    assert (sample.name, sample.labels, sample.value) == ("a_total", {"server": "here:9000", "api": 'get"\n\\'}, 3)


def test_a_counter_is_called_as_it_is_called() -> None:
    made = values()
    made.add("a_bytes", 7)
    made.add("a_bytes_free", 8)
    assert made.render().decode().splitlines() == [
        "# HELP a_bytes A counter without the ending", "# TYPE a_bytes counter", 'a_bytes{server="here:9000"} 7.0',
        "# HELP a_bytes_free Free", "# TYPE a_bytes_free gauge", "a_bytes_free 8.0",
    ]  # fmt: skip


def test_families_without_values_are_not_shown() -> None:
    assert values().render() == b""


def test_a_histogram_adds_up() -> None:
    made = values()
    made.add_histogram("a_seconds", (0.1, 1.0), [2, 3, 4], 12.5, "get")
    (family,) = text_string_to_metric_families(made.render().decode())
    assert family.type == "histogram"
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert found == {
        ("a_seconds_bucket", "0.1"): 2, ("a_seconds_bucket", "1.0"): 5, ("a_seconds_bucket", "+Inf"): 9,
        ("a_seconds_count", None): 9, ("a_seconds_sum", None): 12.5,
    }  # fmt: skip


@pytest.mark.parametrize("labels", [(), ("get", "more")])
def test_a_value_with_too_few_or_too_many_labels_is_a_defect(labels: tuple[str, ...]) -> None:
    with pytest.raises((AssertionError, StopIteration)):
        values().add("a_total", 1, *labels)


def test_the_list_names_every_family() -> None:
    assert [line.split("`")[1] for line in render_list(SPECS).decode().splitlines()[2:] if "`" in line] == [
        spec.name for spec in SPECS
    ]
