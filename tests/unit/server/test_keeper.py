from pathlib import Path

from hosu.server.bell import hang_bell, ring


def test_whoever_rings_is_heard_in_a_lake_with_a_long_path(tmp_path: Path) -> None:
    lake = tmp_path / ("d" * 120)
    lake.mkdir()
    with hang_bell(lake) as listener:
        ring(lake)
        listener.accept()[0].close()
        assert (lake / "tmp" / "keeper.sock").stat().st_mode & 0o777 == 0o600


def test_ringing_where_nobody_listens_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    ring(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())
