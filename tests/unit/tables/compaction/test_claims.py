"""Who is at a bucket."""

from typing import Any

import pytest
from tests.support.tables import open_context

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.kernel.fileio import FileStat
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.compaction.claims import CLAIM_MS, RENEW_MS, claimed
from hosu.tables.context import TableContext
from hosu.testing.manual_clock import ManualClock

CLAIMS = "w/d.db/t/upkeep/"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ctx(clock: ManualClock) -> TableContext:
    return open_context(MemoryFileIO(), clock=clock)


def claims(ctx: TableContext) -> list[str]:
    return [entry.key for entry in ctx.files.list(CLAIMS)]


def test_a_bucket_is_one_claimants_at_a_time(ctx: TableContext) -> None:
    with claimed(ctx, ("a",), 0) as first, claimed(ctx, ("a",), 0) as second:
        assert first is not None
        assert second is None

    with claimed(ctx, ("a",), 0) as third:
        assert third is not None


def test_other_buckets_and_partitions_are_free(ctx: TableContext) -> None:
    with claimed(ctx, ("a",), 0), claimed(ctx, ("a",), 1) as bucket, claimed(ctx, ("b",), 0) as partition:
        assert bucket is not None
        assert partition is not None


def test_nothing_stays_of_a_claim_that_was_given_back(ctx: TableContext) -> None:
    with claimed(ctx, ("a",), 0):
        assert len(claims(ctx)) == 1

    assert claims(ctx) == []


def test_a_claim_is_given_back_by_who_fails(ctx: TableContext) -> None:
    with pytest.raises(KeyError), claimed(ctx, ("a",), 0):
        raise KeyError

    assert claims(ctx) == []


def test_a_claim_that_ran_out_is_taken_over_and_not_given_back_by_who_lost_it(
    ctx: TableContext, clock: ManualClock
) -> None:
    with claimed(ctx, ("a",), 0) as first:
        assert first is not None
        clock.advance(CLAIM_MS)
        with claimed(ctx, ("a",), 0) as second:
            assert second is not None
            first.release()
            assert len(claims(ctx)) == 1
            with claimed(ctx, ("a",), 0) as third:
                assert third is None


def test_a_claim_that_is_renewed_goes_on(ctx: TableContext, clock: ManualClock) -> None:
    with claimed(ctx, ("a",), 0) as first:
        assert first is not None
        for _ in range(5):
            clock.advance(RENEW_MS)
            first.renew()
        with claimed(ctx, ("a",), 0) as second:
            assert second is None


def test_a_claim_of_a_clock_far_ahead_does_not_count(ctx: TableContext, clock: ManualClock) -> None:
    clock.advance(100 * CLAIM_MS)
    with claimed(ctx, ("a",), 0):
        clock.set_now_ms(clock.now_ms() - 100 * CLAIM_MS)
        with claimed(ctx, ("a",), 0) as second:
            assert second is not None


def test_a_claim_that_cannot_be_read_does_not_count(ctx: TableContext) -> None:
    with claimed(ctx, ("a",), 0):
        ctx.files.put(claims(ctx)[0], b"?")
        with claimed(ctx, ("a",), 0) as second:
            assert second is not None


class Unconditional(MemoryFileIO):
    """A store without conditional puts."""

    def put(self, key: str, data: Any, *, if_absent: bool = False, if_match: str | None = None) -> FileStat:
        if (if_absent or if_match is not None) and "/upkeep/" in key:
            raise UnsupportedError(ErrorKind.UNSUPPORTED, "no conditional puts")
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


def test_a_store_without_conditional_puts_has_no_claims() -> None:
    ctx = open_context(Unconditional())

    with claimed(ctx, ("a",), 0) as first, claimed(ctx, ("a",), 0) as second:
        assert first is not None
        assert second is not None
        first.renew()
        assert claims(ctx) == []
