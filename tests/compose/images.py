"""The images that `compose.yaml` and the `Dockerfile` name: pulled, or else built here under the same names.

Where no registry can be reached, a stand-in is made of Debian packages and, for Kafka, the jars that its own release
is made of. It takes the same settings in the same places as the official image, so the files that use it do not know.
A stand-in carries the label `penstock.stand-in`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.compose.engine import CommandFailed, Engine
from tests.servers.kafka import LOG4J, VERSION, jars
from tests.servers.tools import program, say

HERE = Path(__file__).parent / "images"
LABEL = "penstock.stand-in"
BASE = "debian:trixie-slim"
STAND_INS = {
    "python:3.13-slim-trixie": "python",
    f"apache/kafka:{VERSION}": "kafka",
    "eclipse-mosquitto:2": "mosquitto",
    "redis:8": "redis",
}


def provide(engine: Engine) -> None:
    """Have every image that is named on this engine."""
    for image, folder in STAND_INS.items():
        if engine.has(image):
            continue
        try:
            say(f"pulling {image}")
            engine.run("pull", "--quiet", image)
        except CommandFailed:
            say(f"{image} cannot be pulled; building a stand-in of that name")
            _base(engine)
            _build(engine, image, folder)


def _build(engine: Engine, image: str, folder: str) -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-image-") as name:
        context = Path(name) / folder
        shutil.copytree(HERE / folder, context)
        if folder == "kafka":
            shutil.copytree(jars(), context / "libs")
            (context / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        engine.run("build", "--network", "host", "--label", f"{LABEL}=true", "--tag", image, str(context))


def _base(engine: Engine) -> None:
    """A minimal Debian, which also trusts the certificate authorities that this machine was told to trust."""
    if engine.has(BASE):
        return
    debootstrap = program("debootstrap", package="debootstrap")
    say(f"building {BASE} with debootstrap")
    with tempfile.TemporaryDirectory(prefix="penstock-debian-") as name:
        root = Path(name) / "root"
        packages = "--include=ca-certificates"
        command = [debootstrap, "--variant=minbase", packages, "trixie", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(f"debootstrap failed:\n{done.stdout[-4000:]}{done.stderr}")
        for authority in Path("/usr/local/share/ca-certificates").glob("*.crt"):
            shutil.copy(authority, root / "usr/local/share/ca-certificates")
        subprocess.run(["chroot", str(root), "update-ca-certificates"], capture_output=True, check=True)
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
            assert archive.stdout is not None
            engine.run("import", "--change", f"LABEL {LABEL}=true", "-", BASE, stdin=archive.stdout.fileno())
