"""Notes of commits, and what a partition's account makes of them."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.batch import Partition
from penstock.connectors.kafka.batch import KafkaBatch, Progress
from penstock.connectors.kafka.note import LONGEST, Note, Span, read, write
from penstock.connectors.kafka.start import Starts

OFFSETS = st.integers(0, 2**62)
TOPICS = st.sampled_from(["", "q1Wz0n5OSxq0b0uGcmBN0w", "AAAAAAAAAAAAAAAAAAAAAQ"])


@st.composite
def spans(draw: st.DrawFn, offset: int) -> list[Span]:
    """Spans above an offset that rise and leave something out in between."""
    found: list[Span] = []
    at = offset
    for unfinished, finished in draw(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), max_size=40)):
        found.append(Span(at + unfinished, at + unfinished + finished))
        at = found[-1].stop
    return found


@given(topic=TOPICS, offset=OFFSETS, data=st.data())
def test_what_is_written_is_read(topic: str, offset: int, data: st.DataObject) -> None:
    finished = data.draw(spans(offset))
    text = write(topic, offset, finished)
    assert read(text, offset) == Note(topic, finished)
    assert read(f"{text}what lies behind; in memory", offset) == Note(topic, finished)


@given(offset=OFFSETS, size=st.integers(1, 5000))
def test_what_does_not_fit_is_left_out_at_the_end(offset: int, size: int) -> None:
    finished = [Span(offset + number * 2 * size + size, offset + (number + 1) * 2 * size) for number in range(2000)]
    text = write("topic", offset, finished)
    assert LONGEST - 8 < len(text) <= LONGEST
    note = read(text, offset)
    assert note is not None
    assert note.finished == finished[: len(note.finished)]
    assert len(note.finished) >= 490


@given(text=st.text(), offset=OFFSETS)
def test_a_foreign_text_is_no_note(text: str, offset: int) -> None:
    assert read(text, offset) is None
    assert read(f"penstock/1 {text}", offset) is None


@given(offset=OFFSETS, place=st.integers(0, 200), digit=st.characters(codec="ascii"))
def test_a_damaged_note_is_none(offset: int, place: int, digit: str) -> None:
    text = write("topic", offset, [Span(offset + 1, offset + 500)])
    place %= len(text) - 1
    damaged = text[:place] + digit + text[place + 1 :]
    assert damaged == text or read(damaged, offset) is None
    assert read(text, offset + 1) is None, "carried over to another offset"


def test_no_text_is_no_note() -> None:
    assert read(None, 0) is None
    assert read("", 0) is None
    assert read(write("", 3, []), 3) == Note("", [])


class Batch(KafkaBatch):
    """Records that are their own offsets."""

    __slots__ = ()

    def offset(self, index: int) -> int:
        return int(self.records[index])


def batch(offsets: list[int], *, end: int = 0, sparse: bool = False) -> Batch:
    end = end or offsets[-1] + 1
    return Batch(
        Partition("t"), offsets, [b""] * len(offsets), [None] * len(offsets), None, 0.0, end=end, sparse=sparse
    )


@given(data=st.data())
def test_an_owner_after_the_other_begins_with_what_is_not_finished(data: st.DataObject) -> None:
    """Any offsets, any of them finished, any number of owners: each is finished once, none is left out."""
    log = sorted(data.draw(st.sets(st.integers(0, 400), min_size=1)))
    unfinished = set(log)
    commit, text, identity = 0, "", "the-topic"
    for _ in range(data.draw(st.integers(1, 4))):
        progress, starts = Progress(Partition("t", 0, identity)), Starts("t")
        assert starts.resolve(identity, {0: (commit, text)}) == []
        coming = deque(offset for offset in log if offset >= commit)
        handed: list[int] = []
        while coming:
            some = [coming.popleft() for _ in range(min(len(coming), data.draw(st.integers(1, 60))))]
            rest = starts.rest(0, some, int, lambda: None)
            one = batch(rest, end=some[-1] + 1, sparse=len(rest) < len(some))
            progress.add(one)
            handed += rest
            for index in range(len(one)):
                if data.draw(st.booleans()):
                    one.settle(index)
                    unfinished.remove(rest[index])
            if data.draw(st.booleans()):
                due = progress.due()
                progress.committed = due or progress.committed
        assert set(handed) >= unfinished, "what is not finished comes again"
        assert starts.skipped == len([offset for offset in log if offset >= commit]) - len(handed)
        kept = progress.committed if progress.committed[0] >= 0 else (commit, text)
        commit, text = progress.due() or kept
        assert not any(offset < commit for offset in unfinished)
        assert all(offset >= commit or offset not in unfinished for offset in log)
        note = read(text, commit)
        assert note is not None
        noted = {offset for span in note.finished for offset in range(*span)}
        assert {offset for offset in log if offset >= commit and offset not in noted} == unfinished


def test_an_account_lets_go_of_what_is_finished_in_the_middle() -> None:
    progress = Progress(Partition("t"))
    first = batch([0, 1])
    progress.add(first)
    first.settle(1)
    for number in range(2, 1000):
        one = batch([number])
        progress.add(one)
        one.settle(0)
    assert len(progress.batches) < 40
    assert progress.span == 1000
    commit, text = progress.due() or (-1, "")
    assert commit == 0
    assert read(text, 0) == Note("", [Span(1, 1000)])
    first.settle(0)
    assert progress.due() == (1000, write("", 1000, []))
    assert progress.span == 0


def test_a_commit_of_another_topic_of_this_name_is_void() -> None:
    starts = Starts("t")
    text = write("old", 5, [Span(6, 100)])
    assert starts.resolve("new", {0: (5, text), 1: (5, ""), 2: (5, write("", 5, []))}) == [0]
    assert starts.rest(0, [6, 7], int, lambda: None) == [6, 7]


def test_a_partition_that_begins_before_its_commit_forgets_what_was_finished() -> None:
    starts = Starts("t")
    assert starts.resolve("t", {0: (50, write("t", 50, [Span(60, 100)]))}) == []
    assert starts.rest(0, [0, 1], int, lambda: None) == [0, 1]
    assert starts.rest(0, [60, 61], int, lambda: None) == [60, 61]
    assert not starts.pending


def test_the_floor_is_what_the_broker_has_confirmed() -> None:
    batch = Batch(Partition("t"), [0, 1], [b"", b""], [None, None], None, 0.0, end=2)
    assert batch.floor() == ""
    progress = Progress(batch.partition)
    progress.add(batch)
    assert batch.floor() == ""
    batch.settle(0)
    due = progress.due()
    assert due is not None
    progress.committed = due
    assert batch.floor() == f"{1:019d}" == batch.place(1)
