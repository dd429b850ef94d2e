"""A session over a catalog in memory."""

from collections.abc import Iterator

import pytest

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.sql.session import Session
from hosu.testing.manual_clock import ManualClock

TICKER = """
CREATE TABLE ticker (
  symbol STRING,
  price DOUBLE,
  volume DOUBLE,
  change_rate DOUBLE,
  trade_timestamp TIMESTAMP(3),
  dt STRING,
  PRIMARY KEY (symbol, dt) NOT ENFORCED
) PARTITIONED BY (dt) WITH (
  'changelog-producer' = 'input',
  'merge-engine' = 'deduplicate',
  'bucket' = '4'
)
"""


@pytest.fixture
def clock() -> ManualClock:
    """The time of commits."""
    return ManualClock()


@pytest.fixture
def catalog(clock: ManualClock) -> Iterator[Catalog]:
    """A catalog with a database `d`."""
    catalog = Catalog(MemoryFileIO(), "w", clock=clock)
    catalog.create_database("d")
    yield catalog
    catalog.close()


@pytest.fixture
def session(catalog: Catalog) -> Session:
    """A session in database `d`, with the table `ticker` of three rows and `notes` of two."""
    session = Session(catalog)
    session.run("USE d")
    session.run(TICKER)
    session.run(
        "INSERT INTO ticker (symbol, price, volume, trade_timestamp, dt) VALUES "
        "('BTC', 1.5, 2, '2026-01-31 09:00:00', '2026-01-31'), ('ETH', 2.5, 3, NULL, '2026-01-31'), "
        "('XRP', 3.5, 4, NULL, '2026-02-01')"
    )
    session.run("CREATE TABLE notes (id INT NOT NULL, symbol STRING, amount DECIMAL(10, 2), tags ARRAY<STRING>)")
    session.run("INSERT INTO notes VALUES (1, 'BTC', 2.50, ['a', 'b']), (2, 'ETH', 1, NULL)")
    return session
