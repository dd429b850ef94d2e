"""Web identity tokens wait apart from everything else, and not without end."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hosu.identity.authority import Authority
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.server.sts.service import TOKENS_WAITING_MAX, StsService


@pytest.fixture
def service(tmp_path: Path) -> Iterator[StsService]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        port: Any = SimpleNamespace(store=store)
        yield StsService(port, authority=Authority(store, ("root-name", "root-secret")), settings=Settings())


class Hanging:
    """An identity provider that answers when it is let."""

    def __init__(self) -> None:
        self.going = threading.Event()

    def identify(self, token: str) -> Any:
        self.going.wait()
        return token


def test_a_provider_that_hangs_holds_a_bounded_number_of_tokens(service: Any) -> None:
    provider: Any = Hanging()

    async def send() -> None:
        waiting = [
            asyncio.create_task(service._identify(provider, str(number))) for number in range(TOKENS_WAITING_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError) as refused:
            await service._identify(provider, "one more")
        assert refused.value.kind is ErrorKind.ISSUER_UNAVAILABLE
        provider.going.set()
        assert await asyncio.gather(*waiting) == [str(number) for number in range(TOKENS_WAITING_MAX)]
        assert await service._identify(provider, "later") == "later"

    asyncio.run(send())
