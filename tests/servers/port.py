"""Free ports, and waiting until something answers on one."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """A port nobody listens on now.

    Taken from below the range that the kernel hands to outgoing connections: a server that is stopped and started
    again must find its port free, and a client that reconnects meanwhile must not end up connected to itself.
    """
    for port in random.sample(range(15_000, 32_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError("none of 200 ports tried between 15000 and 32000 is free")


def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether the server on this port replies to `question` with something that begins with `answer`."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(question)
            return connection.recv(64).startswith(answer)
    except OSError:
        return False
