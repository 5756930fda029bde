"""The command line: `penstock`.

Exit codes: 0 it went well; 1 it failed; 2 the declaration, a setting or the command itself is wrong.
"""

from __future__ import annotations

import os
import sys

OK, FAILED, WRONG = 0, 1, 2


def main() -> None:
    """Run one command and leave the process with its exit code. What went wrong is one line, never a traceback."""
    from penstock.errors import ConfigError, DeclarationError, PenstockError
    from penstock.pipeline.cli.commands import commands

    try:
        commands()
    except (ConfigError, DeclarationError) as error:
        _say(error)
        raise SystemExit(WRONG) from None
    except PenstockError as error:
        _say(error)
        raise SystemExit(FAILED) from None
    except BrokenPipeError:
        # Whoever read the output has left, as `head` does; nothing more can be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(FAILED) from None


def _say(error: BaseException) -> None:
    mark = "\x1b[31merror\x1b[0m" if sys.stderr.isatty() else "error"
    for number, line in enumerate(str(error).splitlines()):
        print(f"{mark}: {line}" if number == 0 else f"       {line}", file=sys.stderr)
