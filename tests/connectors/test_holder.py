"""Names by which a process that has ended is known."""

from __future__ import annotations

import os
import subprocess
import sys

from penstock.connectors import holder


def test_a_process_is_gone_when_it_has_ended() -> None:
    ask = "from penstock.connectors import holder; print(holder.name(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", ask], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert not holder.gone(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert holder.gone(name), "also while nobody has asked how it ended"
    assert holder.gone(name)


def test_one_that_took_its_number_is_somebody_else() -> None:
    machine, process, began, own = holder.name().rsplit("/", 3)
    assert holder.gone(f"{machine}/{process}/{int(began) - 1}/{own}")


def test_whose_end_cannot_be_seen_may_live() -> None:
    assert not any(map(holder.gone, ("", "c0ffee", "elsewhere/1/2/3", f"{holder.name().rsplit('/', 3)[0]}/x/1/2")))
    assert len({holder.name() for _ in range(9)}) == 9
