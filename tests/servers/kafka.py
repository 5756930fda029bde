"""Kafka 4 in KRaft mode: one process that is broker and controller, out of the jars on Maven Central."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests.servers.port import HOST, free_port
from tests.servers.server import PATIENCE, Server, ServerFailed
from tests.servers.tools import MissingTool, cache, locked, program, say

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
VERSION = ElementTree.parse(POM).findtext("properties/kafka.version", "")
STARTED = "Kafka Server started"

LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


class Kafka(Server):
    """A Kafka broker. `settings` are server properties: `Kafka({"num.partitions": "4"})`.

    Topics are made on first use, with one partition unless `num.partitions` says otherwise. Time-outs of consumer
    groups are allowed to be short, so that failures are noticed within a test's patience.
    """

    name = "kafka"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(settings)
        self.controller_port = free_port()
        self._seen = 0

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        config = self.folder / "server.properties"
        log4j = self.folder / "log4j2.properties"
        log4j.write_text(LOG4J, encoding="utf-8")
        java = [
            program("java", package="default-jre-headless"),
            "-cp",
            f"{jars()}/*",
            f"-Dlog4j2.configurationFile={log4j}",
        ]
        java += ["-Xms256m", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:-UsePerfData"]
        properties = "".join(f"{name}={value}\n" for name, value in self._properties().items())
        config.write_text(properties, encoding="utf-8")
        if not (self.folder / "data").exists():
            self._format(java, config)
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        return [*java, "kafka.Kafka", str(config)]

    def ready(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._seen)
            return STARTED.encode() in log.read()

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "group.consumer.min.session.timeout.ms": "1000",
            "group.consumer.min.heartbeat.interval.ms": "200",
            **self.settings,
        }

    def _format(self, java: list[str], config: Path) -> None:
        # An id that began with a dash would be taken for an option.
        cluster = "A" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode:
            raise ServerFailed(f"kafka.tools.StorageTool format failed:\n{done.stdout}{done.stderr}")


def jars() -> Path:
    """The folder of the broker's jars, fetched by Maven the first time."""
    target = cache() / f"kafka-{VERSION}"
    if target.exists():
        return target
    with locked("kafka"):
        if not target.exists():
            _fetch(target)
    return target


def _fetch(target: Path) -> None:
    maven = program("mvn", package="maven")
    say(f"fetching the jars of Kafka {VERSION} with Maven, once on this machine")
    folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=cache()))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    command = [maven, "-q", "-B", "-f", str(POM), *goal]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        raise MissingTool(f"Maven could not fetch the jars of Kafka {VERSION}:\n{done.stdout}{done.stderr}")
    folder.chmod(0o755)
    folder.rename(target)
