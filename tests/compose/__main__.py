"""`make compose-test`: the stack of `compose.yaml`, fed by foreign clients and read from the host.

Everything is asked from outside, over the published ports, as a user would. Ends with 0 only if every payment that
was pushed has its decision, the producer's payments flow too, and the pipeline leaves in order when it is stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.compose.engine import CommandFailed, Engine, engine
from tests.compose.images import provide
from tests.compose.stack import Stack, Unmet
from tests.servers import MissingTool
from tests.servers.tools import say

PAYMENTS = 20


@contextmanager
def stack(docker: Engine) -> Iterator[Stack]:
    """The stack, up; gone again afterwards, with its logs shown where something failed."""
    found = Stack(docker)
    try:
        say("building the images and bringing the stack up")
        found.up()
        yield found
    except BaseException:
        print(found.logs(), file=sys.stderr)
        raise
    finally:
        say("taking the stack down")
        found.down()


def walk(found: Stack) -> None:
    """Push payments every way there is, and look for what must come of them."""
    found.wait_until_ready()
    ways = {
        "penstock send kafka:payments": found.send_with_penstock,
        "kcat": found.send_with_kcat,
        "mosquitto_pub": found.send_with_mosquitto,
        "curl": found.send_with_curl,
    }
    for way, send in ways.items():
        ids = [f"{way.split()[0]}-{number}" for number in range(PAYMENTS)]
        send(ids)
        found.wait_for_decisions(ids)
        say(f"{way}: {len(ids)} payments pushed, {len(ids)} decisions read")
    found.tail_with_penstock(PAYMENTS)
    say(f"penstock tail kafka:decisions: {PAYMENTS} decisions read")
    events = found.run_producer(at_least=100)
    say(f"the producer: {events} events seen by the pipeline")
    found.stop_pipeline()
    say("the pipeline left in order")


def main() -> int:
    """Run the whole of it; 0 where it went well."""
    try:
        with engine() as docker:
            provide(docker)
            with stack(docker) as found:
                walk(found)
    except (CommandFailed, MissingTool, Unmet) as error:
        print(f"compose-test failed: {error}", file=sys.stderr)
        return 1
    say("compose-test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
