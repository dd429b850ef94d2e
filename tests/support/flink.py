"""Flink with Paimon in one Java process: SQL in, plain Python rows out; the judge of what tables hold."""

import contextlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest
from py4j.java_collections import JavaArray, JavaList, JavaMap
from py4j.java_gateway import GatewayParameters, JavaGateway, JavaObject, find_jar_path
from py4j.protocol import Py4JJavaError
from tests.support.foreign import ENVIRONMENT
from tests.support.paimon_rows import alike
from tests.support.server import Endpoint, isolated_environment

LIBRARIES = ENVIRONMENT / "flink"
HOW = "needs Flink and Paimon for Java: make scenarios-venv"
HEAP = "1g"
LOG_CHARACTERS = 8_000

OPEN_PACKAGES = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
"""What Flink's serialisers reach into, of java.base."""

SMALL = {
    "parallelism.default": "1",
    "taskmanager.memory.network.min": "24mb",
    "taskmanager.memory.network.max": "24mb",
    "taskmanager.memory.managed.size": "96mb",
    "table.exec.sink.upsert-materialize": "NONE",
    "table.dml-sync": "true",
    "rest.bind-port": "0",
}
"""One small cluster, in the process."""

SLOTS = 8

LOG4J = """
status = error
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1} %m%n
"""

Plain = Any
"""None, bool, int, float, str, bytes, Decimal, and lists, dicts and tuples of these."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row as a streaming query sees it: `+I`, `-U`, `+U` or `-D`, and the row."""

    kind: str
    row: tuple[Plain, ...]


def require_flink() -> None:
    """Skip a test whose jars are not there; on CI, where they are, that is a failure."""
    if not list(LIBRARIES.glob("lib/paimon-flink-*.jar")):
        pytest.skip(HOW)


def plain(value: Any) -> Plain:
    """Return a value of Java as Python's; dates and times as the text that Java prints, rows as tuples."""
    if isinstance(value, JavaArray):
        return [plain(item) for item in value]
    if isinstance(value, JavaMap):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, JavaList):
        return [plain(item) for item in value]
    if isinstance(value, JavaObject):
        if value.getClass().getName() == "org.apache.flink.types.Row":
            return tuple(plain(value.getField(index)) for index in range(value.getArity()))
        return str(value.toString())
    if isinstance(value, bytearray):
        return bytes(value)
    assert value is None or isinstance(value, bool | int | float | str | bytes | Decimal), type(value)
    return value


class Stream:
    """A query that never ends; close it."""

    def __init__(self, result: Any) -> None:
        """Take over the result of a statement."""
        self._result = result
        self._rows = result.collect()

    def take(self, count: int) -> list[Change]:
        """Return the next rows, waiting for them."""
        taken: list[Change] = []
        for _ in range(count):
            assert self._has_next(), f"the stream ended after {len(taken)} of {count} rows"
            row = self._rows.next()
            taken.append(Change(str(row.getKind().shortString()), plain(row)))
        return taken

    def _has_next(self) -> bool:
        try:
            return bool(self._rows.hasNext())
        except Py4JJavaError as error:
            raise FlinkError(reasons(error)) from None

    def rest(self) -> list[Change]:
        """Return every row that is left of a query that ends."""
        changes = []
        while self._has_next():
            changes += self.take(1)
        return changes

    def close(self) -> None:
        """End the query."""
        self._rows.close()


class FlinkError(Exception):
    """A statement failed; the message ends with the cause that Java gave."""


class Flink:
    """One Java process with a batch and a streaming environment, which know the same catalogs."""

    def __init__(self, home: Path, *, settings: Mapping[str, str] | None = None, libraries: Path = LIBRARIES) -> None:
        """Start Java; `home` takes its log and temporary files, `settings` are Flink's."""
        home.mkdir(parents=True, exist_ok=True)
        self.log_path = home / "flink.log"
        logging = home / "log4j2.properties"
        logging.write_text(LOG4J)
        jars = [Path(find_jar_path()), *sorted((libraries / "lib").glob("*.jar"))]
        options = [
            f"-Xmx{HEAP}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={logging}",
        ]
        options += [f"-Djava.io.tmpdir={home}", f"-Djava.class.path={os.pathsep.join(map(str, jars))}"]
        options += [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPEN_PACKAGES]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                ["java", *options, "py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env=isolated_environment() | {"FLINK_PLUGINS_DIR": str(libraries / "plugins")},
                text=True,
            )
        assert self._process.stdout is not None, "asked for"
        port, token = (self._process.stdout.readline().strip() for _ in range(2))
        # Java keeps what it handed out: telling it of each object that Python has done with would outlive the process.
        parameters = GatewayParameters(
            port=int(port), auth_token=token, auto_convert=True, enable_memory_management=False
        )
        self.gateway = JavaGateway(gateway_parameters=parameters)
        self._java = self.gateway.jvm
        configuration = self._java.org.apache.flink.configuration.Configuration()
        for name, value in {**SMALL, "io.tmp.dirs": str(home), **(settings or {})}.items():
            configuration.setString(name, value)
        plugins = self._java.org.apache.flink.core.plugin.PluginUtils.createPluginManagerFromRootFolder(configuration)
        self._java.org.apache.flink.core.fs.FileSystem.initialize(configuration, plugins)
        self._cluster = self._start_cluster(configuration)
        table = self._java.org.apache.flink.table.api
        modes = table.EnvironmentSettings.newInstance
        self._batch = table.TableEnvironment.create(modes().withConfiguration(configuration).inBatchMode().build())
        self._streaming = table.TableEnvironment.create(
            modes().withConfiguration(configuration).inStreamingMode().build()
        )

    def _start_cluster(self, configuration: Any) -> Any:
        """Start one cluster for all statements, and let the configuration name it."""
        runtime = self._java.org.apache.flink.runtime.minicluster
        builder = runtime.MiniClusterConfiguration.Builder().setConfiguration(configuration).withRandomPorts()
        cluster = runtime.MiniCluster(builder.setNumTaskManagers(1).setNumSlotsPerTaskManager(SLOTS).build())
        cluster.start()
        address = cluster.getRestAddress().get()
        for name, value in (("execution.target", "remote"), ("rest.address", address.getHost())):
            configuration.setString(name, value)
        configuration.setString("rest.port", str(address.getPort()))
        return cluster

    def catalog(self, warehouse: str, *, name: str = "paimon", database: str | None = None, **options: str) -> None:
        """Make a Paimon catalog over a warehouse, for both environments, and use it."""
        listed = {"type": "paimon", "warehouse": warehouse} | {
            key.replace("_", "-"): value for key, value in options.items()
        }
        text = ", ".join(f"'{key}'='{value}'" for key, value in listed.items())
        self.everywhere(f"CREATE CATALOG IF NOT EXISTS `{name}` WITH ({text})")
        self.everywhere(f"USE CATALOG `{name}`")
        if database is not None:
            self.everywhere(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            self.everywhere(f"USE `{database}`")

    def everywhere(self, statement: str) -> None:
        """Run a statement in both environments: `USE`, a catalog, a temporary table."""
        for environment in (self._batch, self._streaming):
            self._execute(environment, statement)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set what SQL's `SET` does, for statements to come."""
        for environment in (self._batch, self._streaming):
            for name, value in settings.items():
                environment.getConfig().set(name, value)

    def rows(self, query: str) -> list[tuple[Plain, ...]]:
        """Return the rows of a batch query, sorted."""
        with contextlib.closing(Stream(self._execute(self._batch, query))) as stream:
            return alike(change.row for change in stream.rest())

    def run(self, *statements: str, streaming: bool = False) -> None:
        """Run statements one after the other, each to its end."""
        environment = self._streaming if streaming else self._batch
        for statement in statements:
            self._execute(environment, statement)

    def follow(self, query: str) -> Stream:
        """Start a streaming query; close what is returned."""
        return Stream(self._execute(self._streaming, query))

    def start(self, statement: str) -> Any:
        """Start a streaming INSERT that does not end; returns Flink's client of the job, to cancel it."""
        self.configure({"table.dml-sync": "false"})
        try:
            return self._execute(self._streaming, statement).getJobClient().get()
        finally:
            self.configure({"table.dml-sync": "true"})

    def log_tail(self) -> str:
        """Return the end of what Java wrote."""
        return self.log_path.read_text(errors="replace")[-LOG_CHARACTERS:]

    def close(self) -> None:
        """End Java."""
        self.gateway.close()
        assert self._process.stdin is not None, "asked for"
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None, "asked for"
        self._process.stdout.close()

    def __enter__(self) -> Self:
        """Return the running process."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """End it."""
        self.close()

    @staticmethod
    def _execute(environment: Any, statement: str) -> Any:
        try:
            return environment.executeSql(statement)
        except Py4JJavaError as error:
            raise FlinkError(f"{statement}\n{reasons(error)}") from None


def reasons(error: Py4JJavaError) -> str:
    """Return the message of an error of Java and of each of its causes."""
    found, cause = [], error.java_exception
    while cause is not None:
        found.append(str(cause.toString()))
        cause = cause.getCause()
    return "\n  because ".join(found)


def s3_settings(endpoint: Endpoint) -> dict[str, str]:
    """Return what Flink's configuration says of an S3."""
    return {
        "s3.endpoint": endpoint.url,
        "s3.access-key": endpoint.access_key,
        "s3.secret-key": endpoint.secret_key,
        "s3.path.style.access": "true",
    }


__all__ = ["Change", "Flink", "FlinkError", "Plain", "Stream", "plain", "require_flink", "s3_settings"]
