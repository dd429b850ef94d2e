"""A server of its own for attacks, so that what they leave behind can be counted."""

from collections.abc import Iterator

import pytest
from tests.support.attack import Attacker
from tests.support.clients import S3Client, boto3_client
from tests.support.server import ServerProcess

BUCKET = "prey"


@pytest.fixture(scope="session")
def attacker(isolated_shell: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:  # noqa: ARG001
    scratch = tmp_path_factory.mktemp("attacked")
    with ServerProcess(scratch / "lake", scratch / "server.log") as process:
        attack = Attacker(process, BUCKET)
        assert attack.send("PUT", b"/prey").status == 200
        pid = attack.s3_pid
        yield attack
        assert attack.s3_pid == pid, "an attack ended the S3 process"
        log = process.log_tail()
        assert "unexpected error" not in log, log
        assert "Traceback" not in log, log


@pytest.fixture(scope="session")
def harmless(attacker: Attacker) -> Iterator[S3Client]:
    client = boto3_client(attacker.process.endpoint)
    yield client
    client.close()


@pytest.fixture
def prey(harmless: S3Client) -> Iterator[S3Client]:
    """Hand over a well-behaved client of the attacked server; it must find the server well afterwards, too."""
    yield harmless
    harmless.put_object(Bucket=BUCKET, Key="well", Body=b"well")
    assert harmless.get_object(Bucket=BUCKET, Key="well")["Body"].read() == b"well"
    harmless.delete_object(Bucket=BUCKET, Key="well")
