"""What an account is told of itself."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hosu.objects.buckets import create_bucket
from hosu.objects.store import ObjectStore
from hosu.objects.views import View
from hosu.server.minio_admin import account


def test_rights_to_many_buckets_are_looked_up_off_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "rights_of", lambda *_: "{}")
    deciding: set[int] = set()

    def is_allowed(action: str, resource: str) -> bool:
        deciding.add(threading.get_ident())
        return (action, resource) == ("s3:PutObject", "second/")

    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        for name in ("first", "second", "third"):
            store.commit(lambda tx, name=name: create_bucket(tx, name))  # type: ignore[misc]

        async def read(function: Callable[[View], Any]) -> Any:
            return await asyncio.to_thread(lambda: function(store.view()))

        call: Any = SimpleNamespace(
            allow_everybody=lambda: None, caller=SimpleNamespace(access_key="key"), is_allowed=is_allowed,
            json=lambda value: value, key=lambda: None, port=SimpleNamespace(read=read), user="user",
        )  # fmt: skip
        told: Any = asyncio.run(account.account_info(call))
    assert [(bucket["name"], bucket["access"]) for bucket in told["Buckets"]] == [
        ("second", {"read": False, "write": True})
    ]
    assert deciding
    assert threading.get_ident() not in deciding
