"""hosu's own metrics, as a scrape shows them."""

from pathlib import Path

import msgspec

from hosu.objects.store import ObjectStore
from hosu.server.metrics import own
from hosu.server.metrics.meter import Meter
from hosu.server.metrics.state import ProcessFacts, Sources


def test_processes_that_have_not_said_their_names_are_one_sample(tmp_path: Path) -> None:
    """Two samples with the same labels would be refused by Prometheus."""
    with ObjectStore(tmp_path / "lake") as store:
        meter = Meter(store.path, run=1, process="s3-0")
        sources = Sources(store, meter, is_ready=lambda: True, in_flight=dict, lines_waiting=lambda: 0)
        state = sources.read()
    processes = [ProcessFacts(name, 2.0, 30, 40, 5) for name in ("supervisor", "other", "other")]
    text = own.collect(msgspec.structs.replace(state, processes=processes)).render().decode()
    found = [line for line in text.splitlines() if line.startswith("hosu_process_cpu_seconds_total")]
    assert sorted(found) == [
        'hosu_process_cpu_seconds_total{process="other"} 4.0',
        'hosu_process_cpu_seconds_total{process="supervisor"} 2.0',
    ]
