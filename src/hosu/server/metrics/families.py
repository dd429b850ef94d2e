"""Families of metrics: what each is called and means, its values, and both as Prometheus reads them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
_SUFFIX = "_total"


class Spec(NamedTuple):
    """A family without its values. `group` is where it is shown, `labels` the names of its labels."""

    name: str
    kind: str
    group: str
    help: str
    labels: tuple[str, ...] = ()


class Values:
    """The values of all families that a catalogue names; `common` are labels of every value that has such a label."""

    def __init__(self, specs: Iterable[Spec], common: Mapping[str, str]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._common = common
        self._metrics: dict[str, Metric] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add a value; `labels` are those the common ones leave open, in the order of the catalogue."""
        spec = self._specs[name]
        self._metric(spec).add_sample(name, self._labels(spec, labels), value)

    def add_histogram(
        self, name: str, bounds: Sequence[float], counts: Sequence[int], total: float, *labels: str
    ) -> None:
        """Add a histogram: a count for each bound and one for what lies beyond, and the sum of all observations."""
        spec = self._specs[name]
        buckets, below = [], 0
        for bound, count in zip([*bounds, float("inf")], counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(below)))
        whole = HistogramMetricFamily(name, spec.help, labels=list(spec.labels))
        whole.add_metric(list(self._labels(spec, labels).values()), buckets, sum_value=total)
        self._metric(spec).samples.extend(whole.samples)

    def _labels(self, spec: Spec, given: Sequence[str]) -> dict[str, str]:
        left = iter(given)
        labels = {name: self._common[name] if name in self._common else next(left) for name in spec.labels}
        assert next(left, None) is None, f"{spec.name} has the labels {spec.labels}"
        return labels

    def _metric(self, spec: Spec) -> Metric:
        found = self._metrics.get(spec.name)
        if found is None:
            name = spec.name.removesuffix(_SUFFIX) if spec.kind == COUNTER else spec.name
            found = self._metrics[spec.name] = Metric(name, spec.help, spec.kind)
        return found

    def metrics(self) -> list[Metric]:
        """Return the families that have values, in the order of the catalogue."""
        return [self._metrics[name] for name in self._specs if name in self._metrics]

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        text = generate_latest(_Collected(self.metrics()))
        for name, metric in self._metrics.items():
            if metric.type == COUNTER and not name.endswith(_SUFFIX):
                # The library calls every counter …_total, as OpenMetrics wants it; some of MinIO's are not.
                for word in (b"# HELP ", b"# TYPE "):
                    text = text.replace(word + name.encode() + b"_total ", word + name.encode() + b" ", 1)
        return text


class _Collected(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def render_list(specs: Iterable[Spec]) -> bytes:
    """Return a table of families, as Markdown."""
    rows = [f"| `{spec.name}` | {spec.kind} | {spec.help} | {', '.join(spec.labels)} |" for spec in specs]
    return "\n".join(["| name | type | meaning | labels |", "|---|---|---|---|", *rows, ""]).encode()
