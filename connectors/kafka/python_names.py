"""Names of headers that are not UTF-8. kafka-python takes the record for a broken one, and its partition ends there."""

from __future__ import annotations

from typing import Any

from penstock.connectors.kafka.python_client import library


class Lenient(bytes):
    """Bytes that are always text.

    >>> Lenient(b"a\\xff")[1:].decode("utf-8")
    '\\ufffd'
    """

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return Lenient(found) if isinstance(found, bytes) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def lenient() -> None:
    """From now on, have the library replace what is not UTF-8 in the names of headers. Safe to call twice."""
    records = library("kafka.record.default_records").DefaultRecordBatch
    strict = records._read_msg
    if strict.__module__ == __name__:
        return

    def read(self: Any) -> Any:
        try:
            return strict(self)
        except UnicodeDecodeError:
            self._buffer = Lenient(self._buffer)  # for what is left of this batch
            return strict(self)

    records._read_msg = read
