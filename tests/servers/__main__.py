"""`python -m tests.servers KIND... [-- COMMAND...]`: start servers and print their addresses as settings.

Runs until Ctrl-C, or for as long as COMMAND does, which finds the addresses in its environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

from tests.servers import Kafka, Mosquitto, Redis, Server, Valkey

KINDS: dict[str, tuple[type[Server], tuple[str, ...]]] = {
    "kafka": (Kafka, ("PENSTOCK_KAFKA",)),
    "mosquitto": (Mosquitto, ("PENSTOCK_MQTT",)),
    "redis": (Redis, ("PENSTOCK_STORE", "PENSTOCK_REDIS")),
    "valkey": (Valkey, ("PENSTOCK_STORE", "PENSTOCK_REDIS")),
}


def main(arguments: list[str]) -> int:
    """Start what is asked for; the exit code is that of the command, if there is one."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    kinds, command = arguments[:at], arguments[at + 1 :]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        print(f"usage: python -m tests.servers {{{'|'.join(KINDS)}}}... [-- COMMAND...]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        addresses: dict[str, str] = {}
        for kind in kinds:
            make, names = KINDS[kind]
            server = stack.enter_context(make())
            addresses.update(dict.fromkeys(names, server.address))
        try:
            for name, address in addresses.items():
                print(f"{name}={address}", flush=True)
            if command:
                return subprocess.run(command, env={**os.environ, **addresses}, check=False).returncode
            signal.pause()
        except KeyboardInterrupt:
            return 130 if command else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
