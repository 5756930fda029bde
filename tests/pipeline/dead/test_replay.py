"""Dead letters through their pipeline once more: what is done, what stays, and what is not done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import Action, Pipeline, Reject, Retries, Stream, Undeliverable, merge
from penstock.connectors import Endpoint, Message, Settings, Site
from penstock.connectors.redis.endpoint import Redis as Streams
from penstock.connectors.store.memory import MemoryStore
from penstock.connectors.topics import Topics
from penstock.errors import PenstockError
from penstock.pipeline.dead import reading, stock
from penstock.pipeline.dead.replay import Replay
from penstock.pipeline.engine.engine import Engine
from penstock.pipeline.letters.letters import Letter, Letters
from penstock.pipeline.parking import spill
from penstock.stages import state
from tests.pipeline.doubles import Bench, Memory, bench, scripted
from tests.pipeline.process import Running, run
from tests.servers import Redis


class Step(msgspec.Struct, frozen=True):
    id: int
    key: str
    fate: str = ""


async def later(step: Step) -> Step:
    await asyncio.sleep(0)
    return step


class Flow:
    """A pipeline of steps that is run, and whose letters are then replayed, in memory. `broken` makes stages fail."""

    def __init__(self, form: str = "loop", **options: Any) -> None:
        self.made = Pipeline("steps", **{"retry": Retries(attempts=1), **options})
        self.source = self.made.source(Memory("in"), schema=Step, key="key", id="id")
        self.stream: Stream[Step] = self.source.transform(later) if form == "slot" else self.source
        self.store = MemoryStore(time.time)
        self.topics = Topics()
        self.broken: set[str] = set()

    def fails(self, name: str) -> Callable[[Step], Step]:
        """A stage that fails for the steps whose fate it is, as long as it is broken."""

        def stage(step: Step) -> Step:
            if name in step.fate.split() and name in self.broken:
                raise ValueError(f"{name} is broken")
            return step

        stage.__name__ = name
        return stage

    async def run(self, *records: Step | bytes) -> list[Letter]:
        """Let the pipeline process these; the letters there are then."""
        b = bench(self.made, store=self.store)
        async with b:
            b.topic("in").extend([one if isinstance(one, bytes) else msgspec.json.encode(one) for one in records])
            await b.until(lambda: b.confirmed("in") == len(records))
        self.topics = b.topics
        return await self.letters()

    async def letters(self) -> list[Letter]:
        return [letter for _, letter in await Letters(self.store, "steps").read(count=1000)]

    async def replay(
        self,
        *,
        rate: float = 0.0,
        during: Callable[[Replay], Any] | None = None,
        stand_in: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
    ) -> Replay:
        """Replay every letter there is."""
        site = Site(Settings({}), pipeline="steps")
        site.share("memory", lambda: self.topics)
        graph = self.made.build()
        replay = Replay(graph, rate=rate)
        engine = Engine(graph, site, self.store, endpoint=replay.endpoint(stand_in))
        if during is not None:
            during(replay)
        async with asyncio.timeout(60):
            await replay.through(engine)
        return replay

    def sent(self, name: str = "out") -> list[str]:
        """The ids of the actions in a topic."""
        log = self.topics.topic(name).logs[0]
        found = [log.extras.get(offset) for offset in range(len(log))]
        return [message.id for message in found if isinstance(message, Message)]


@pytest.fixture(params=["loop", "slot"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def same(step: Step) -> Step:
    return step


async def test_actions_have_the_ids_they_would_have_had_in_the_order_of_their_key(form: str) -> None:
    flow = Flow(form)
    flow.stream.transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    letters = await flow.run(*(Step(number, f"k{number % 3}", "check" if number % 2 else "") for number in range(40)))
    assert len(letters) == 20
    assert sorted(flow.sent()) == sorted(f"{number}/same" for number in range(0, 40, 2))

    flow.broken.clear()
    done = await flow.replay()
    assert (done.done, done.again, done.finished) == (20, 0, True)
    assert await flow.letters() == []
    sent = [int(id.partition("/")[0]) for id in flow.sent()[20:]]
    assert sorted(sent) == list(range(1, 40, 2)), "the source is not read"
    for key in range(3):
        mine = [number for number in sent if number % 3 == key]
        assert mine == sorted(mine)


async def test_without_an_id_field_the_position_is_the_identity() -> None:
    flow = Flow()
    flow.made = Pipeline("steps", retry=Retries(attempts=1))
    stream = flow.made.source(Memory("in"), schema=Step).transform(flow.fails("check"))
    stream.act(same, to=Memory("out"))
    flow.broken = {"check"}
    await flow.run(Step(1, "a"), Step(2, "b", "check"))
    flow.broken.clear()
    await flow.replay()
    assert flow.sent() == [f"in/0/{number:019d}/same" for number in (0, 1)]


async def test_what_fails_again_stays_with_its_id_and_its_history(form: str) -> None:
    flow = Flow(form)
    flow.stream.transform(flow.fails("check")).transform(flow.fails("price")).act(same, to=Memory("out"))
    flow.broken = {"check", "price"}
    [first] = await flow.run(Step(1, "a", "check price"))
    flow.broken = {"price"}
    done = await flow.replay()
    assert (done.done, done.again) == (0, 1)
    [second] = await flow.letters()
    assert (second.id, second.stage, second.reason) == (first.id, "price", "ValueError: price is broken")
    assert second.history == (first.failure,)
    assert second.payload == first.payload

    assert (await flow.replay()).again == 1
    [third] = await flow.letters()
    assert [one.stage for one in third.history] == ["check", "price"]
    flow.broken.clear()
    assert (await flow.replay()).done == 1
    assert (flow.sent(), await flow.letters()) == (["1/same"], [])


async def test_the_branch_that_was_done_is_not_done_again(form: str) -> None:
    flow = Flow(form)
    flow.stream.transform(flow.fails("left")).act(same, to=Memory("a"), stage="a")
    flow.stream.transform(flow.fails("right")).act(same, to=Memory("b"), stage="b")
    flow.broken = {"right"}
    await flow.run(Step(1, "k", "right"), Step(2, "k", "left right"))
    flow.broken = {"left"}
    done = await flow.replay()
    assert (done.done, done.again) == (2, 0), "what fails now in the other branch is done already"
    assert await flow.letters() == []
    assert (flow.sent("a"), flow.sent("b")) == (["1/a", "2/a"], ["1/b", "2/b"])


async def test_each_branch_that_failed_has_a_letter_and_is_replayed_alone(form: str) -> None:
    flow = Flow(form)
    flow.stream.transform(flow.fails("left")).act(same, to=Memory("a"), stage="a")
    flow.stream.transform(flow.fails("right")).act(same, to=Memory("b"), stage="b")
    flow.broken = {"left", "right"}
    letters = await flow.run(Step(1, "k", "left right"))
    assert [letter.stage for letter in letters] == ["left", "right"]
    flow.broken = {"right"}
    done = await flow.replay()
    assert (done.done, done.again) == (1, 1)
    assert (flow.sent("a"), flow.sent("b")) == (["1/a"], [])
    flow.broken.clear()
    await flow.replay()
    assert (flow.sent("a"), flow.sent("b")) == (["1/a"], ["1/b"])


async def test_of_a_generators_children_only_those_that_failed(form: str) -> None:
    flow = Flow(form)

    def children(step: Step) -> Any:
        for number in range(12):
            yield Step(step.id, step.key, "check" if number in (1, 10) else "")

    flow.stream.transform(children).transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    letters = await flow.run(Step(1, "k"))
    assert [letter.path for letter in letters] == [(1,), (10,)]
    assert len(flow.sent()) == 10
    flow.broken.clear()
    await flow.replay()
    assert flow.sent()[10:] == ["1/same.1", "1/same.10"]


async def test_a_failure_before_a_merge_is_that_way_alone(form: str) -> None:
    flow = Flow(form)
    left = flow.stream.transform(flow.fails("left"))
    right = flow.stream.transform(flow.fails("right"))
    merge(left, right).transform(flow.fails("after")).act(same, to=Memory("out"))
    flow.broken = {"right"}
    await flow.run(Step(1, "k", "right"))
    flow.broken.clear()
    await flow.replay()
    assert flow.sent() == ["1/same.0", "1/same.1"]


async def test_a_predicate_that_failed_leaves_both_sides_to_do(form: str) -> None:
    flow = Flow(form)

    def is_odd(step: Step) -> bool:
        if "odd" in flow.broken:
            raise ValueError("broken")
        return step.id % 2 == 1

    odd, even = flow.stream.split(is_odd)
    odd.act(same, to=Memory("out"), stage="odd")
    even.act(same, to=Memory("out"), stage="even")
    flow.broken = {"odd"}
    await flow.run(Step(1, "k"), Step(2, "k"))
    flow.broken.clear()
    await flow.replay()
    assert flow.sent() == ["1/odd", "2/even"]


async def test_an_action_that_one_sink_refused_goes_to_that_sink_alone(form: str) -> None:
    flow = Flow(form)
    refusing: set[str] = {"1/several.1"}
    out, sink = scripted("out", lambda message: Undeliverable("too large") if message.id in refusing else None)

    def several(step: Step) -> list[Step]:
        return [step, step, step]

    flow.stream.act(several, to=[out, Memory("other")])
    [letter] = await flow.run(Step(1, "k"))
    assert (letter.event, letter.action, letter.to, letter.path) == ("1", "1/several.1", "scripted:out", (1,))
    done = await flow.replay()
    assert (done.done, done.again) == (0, 1)
    refusing.clear()
    sink.taken.clear()
    assert (await flow.replay()).done == 1
    assert [message.id for message in sink.taken] == ["1/several.1"]
    assert flow.sent("other") == ["1/several.0", "1/several.1", "1/several.2"]
    assert await flow.letters() == []


async def test_an_action_that_is_not_made_any_more_is_not_forgotten() -> None:
    flow = Flow()
    out, _ = scripted("out", lambda message: Undeliverable("too large"))
    made: list[int] = []

    def once(step: Step) -> Step | None:
        made.append(step.id)
        return step if len(made) == 1 else None

    flow.stream.act(once, to=out)
    await flow.run(Step(1, "k"))
    assert (await flow.replay()).again == 1
    [letter] = await flow.letters()
    assert letter.reason == "the pipeline does not make the action 1/once for scripted:out any more"


async def test_an_edited_letter_starts_from_the_edited_payload(form: str) -> None:
    flow = Flow(form)
    flow.stream.act(same, to=Memory("out"))
    [letter] = await flow.run(b'{"id": "x", "key": "k"}')
    assert letter.stage == letter.entry
    assert (await flow.replay()).again == 1
    [letter] = await flow.letters()
    await Letters(flow.store, "steps").amend(letter.amended(b'{"id": 7, "key": "k"}'))
    assert (await flow.replay()).done == 1
    assert flow.sent() == ["7/same"]


async def test_an_edited_letter_decides_anew_what_was_kept_and_never_sent(form: str) -> None:
    """With `once=True` what was decided first is sent again: but not what a sink refused, and somebody mended."""
    flow = Flow(form)
    taken: list[str] = []
    out, sink = scripted("out", lambda message: Undeliverable("wrong key") if message.key == b"bad" else None)

    def both(step: Step) -> list[Action[Step]]:
        return [Action(step, key=step.key), Action(step, key=f"fine {step.key}")]

    flow.stream.act(both, to=out, once=True)
    [letter] = await flow.run(Step(1, "bad"))
    taken += [f"{message.id} {(message.key or b'').decode()}" for message in sink.taken]
    assert (taken, letter.action) == (["1/both.0 bad", "1/both.1 fine bad"], "1/both.0")
    sink.taken.clear()
    assert (await flow.replay()).again == 1, "word for word"

    await Letters(flow.store, "steps").amend(letter.amended(b'{"id": 1, "key": "good"}'))
    sink.taken.clear()
    assert (await flow.replay()).done == 1
    assert [(message.id, message.key) for message in sink.taken] == [("1/both.0", b"good")]
    kept = await flow.store.read([f"penstock:steps:once:scripted:out:1/both.{number}" for number in (0, 1)])
    assert [b"fine bad" in (one or b"") for one in kept] == [False, True], "what was sent stays as it was"


async def test_an_envelope_is_taken_off_again() -> None:
    flow = Flow()
    flow.stream.transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    envelope = b'{"specversion":"1.0","id":"e1","source":"/s","type":"t","data": {"id": 3, "key": "", "fate": "check"}}'
    b = bench(flow.made, store=flow.store)
    async with b:
        b.topic("in").put(envelope, headers={"content-type": "application/cloudevents+json"})
        b.topic("in").put(b"{}", headers={"content-type": "application/cloudevents+json"})
        await b.until(lambda: b.confirmed("in") == 2)
    flow.topics = b.topics
    good, bad = await flow.letters()
    assert (good.wrapped, good.ce_id, good.original) == (True, "e1", envelope)
    assert bad.wrapped
    flow.broken.clear()
    done = await flow.replay()
    assert (done.done, done.again) == (1, 1)
    assert flow.sent() == ["3/same"]


async def test_a_rejected_event_is_rejected_again() -> None:
    flow = Flow()

    def refuse(step: Step) -> Step:
        raise Reject("never")

    flow.stream.transform(refuse).act(same, to=Memory("out"))
    await flow.run(Step(1, "k"))
    assert (await flow.replay()).again == 1
    [letter] = await flow.letters()
    assert [one.reason for one in (*letter.history, letter.failure)] == ["never", "never"]


async def test_a_rate_is_kept_to_and_stopping_leaves_the_rest() -> None:
    flow = Flow()
    flow.stream.transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    await flow.run(*(Step(number, "k", "check") for number in range(5)))
    flow.broken.clear()
    began = time.monotonic()
    stopped = await flow.replay(
        rate=0.001, during=lambda replay: asyncio.get_running_loop().call_later(0.2, replay.stop)
    )
    assert (stopped.done, stopped.finished) == (1, False)
    assert [letter.event for letter in await flow.letters()] == ["1", "2", "3", "4"]
    began = time.monotonic()
    assert (await flow.replay(rate=10.0)).done == 4
    assert time.monotonic() - began > 0.25
    assert flow.sent() == [f"{number}/same" for number in range(5)]


async def test_of_many_letters_few_are_in_memory(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST", 20)
    monkeypatch.setattr(stock, "ENOUGH", 50)
    flow = Flow(form)
    seen: list[int] = []
    replays: list[Replay] = []

    def watched(step: Step) -> Step:
        seen.extend(len(replay.stock) + len(replay._ended) for replay in replays)
        return step

    flow.stream.transform(watched).transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    await flow.run(*(Step(number, f"k{number % 7}", "check") for number in range(600)))
    flow.broken.clear()
    done = await flow.replay(during=replays.append)
    assert (done.done, done.finished, await flow.letters()) == (600, True, [])
    assert max(seen) <= 300
    for key in range(7):
        assert [id for id in flow.sent() if int(id.partition("/")[0]) % 7 == key] == [
            f"{number}/same" for number in range(key, 600, 7)
        ]


APP = """
import os
from msgspec import Struct
from penstock import Pipeline, Retries
from penstock.connectors.redis.endpoint import Redis

class Order(Struct, frozen=True):
    id: str
    customer: str
    amount: float

def priced(order: Order) -> Order:
    if order.amount > 10 and "BROKEN" in os.environ:
        raise ValueError("no price")
    return order

def confirm(order: Order) -> Order:
    return order

orders = Pipeline("orders", retry=Retries(attempts=1))
placed = orders.source(Redis("orders"), schema=Order, key="customer", id="id")
placed.transform(priced).act(confirm, to=Redis("confirmed"))
"""


@pytest.mark.slow
def test_from_poison_to_action(tmp_path: Path) -> None:
    """Whole processes on a real server: letters of a broken release and of a broken producer, edited and replayed."""
    (tmp_path / "app.py").write_text(APP)
    with Redis({"appendfsync": "always"}) as server:
        store = {"PENSTOCK_STORE": server.address}
        events = "".join(f'{{"id": "o{n}", "customer": "c{n % 2}", "amount": {5 * n}}}\n' for n in range(5))
        with Running("run", "app.py", folder=tmp_path, settings={**store, "BROKEN": "1"}) as broken:
            broken.ready()
            sent = run("send", "redis:orders", folder=tmp_path, settings=store, given=events + '{"id": "o9"}\n')
            assert sent.returncode == 0, sent.stderr
            broken.until(lambda: broken.text.count("is kept as dead letter") == 3, "three letters")
            assert broken.stop() == 0

        def dead(*arguments: str, **more: str) -> tuple[int, list[str], list[str]]:
            done = run("dead", *arguments, folder=tmp_path, settings={**store, **more})
            return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

        assert dead("replay", "app.py", "--dry-run", "--stage", "priced")[2] == [
            "2 letters would be replayed, 0 skipped"
        ]
        assert dead("replay", "app.py", BROKEN="1")[2][-1] == "0 letters replayed, 3 failed again, 0 skipped"
        assert dead("replay", "app.py", "o3/priced")[2][-1] == "1 letter replayed, 0 failed again, 0 skipped"
        assert dead("replay", "app.py", "o3/priced")[0] == 1
        code, _, said = dead("replay", "app.py")
        assert (code, said[-1]) == (1, "1 letter replayed, 1 failed again, 0 skipped")

        [line] = dead("export")[1]
        letter = msgspec.json.decode(line)
        assert (letter["data"], len(letter["history"])) == ('{"id": "o9"}', 2)
        (tmp_path / "editor.py").write_text(
            'import sys\nopen(sys.argv[1], \'w\').write(\'{"id": "o9", "customer": "c1", "amount": 1}\')\n'
        )
        assert dead("edit", "app.py", letter["id"], EDITOR=f"python3 {tmp_path / 'editor.py'}")[0] == 0
        assert dead("replay", "app.py")[0] == 0
        assert dead("list")[2] == ["there is no dead letter"]
        tailed = run("tail", "redis:confirmed", "--earliest", "-n", "6", folder=tmp_path, settings=store)
        ids = sorted(msgspec.json.decode(line)["id"] for line in tailed.stdout.splitlines())
        assert ids == ["o0", "o1", "o2", "o3", "o4", "o9"]


async def test_one_replay_of_a_pipeline_at_a_time() -> None:
    flow = Flow()
    flow.stream.transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    await flow.run(*(Step(number, "k", "check") for number in range(3)))
    flow.broken.clear()
    slow = asyncio.ensure_future(flow.replay(rate=0.001))
    while not flow.sent():
        await asyncio.sleep(0)
    with pytest.raises(PenstockError, match="are being replayed already, on "):
        await flow.replay()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert (await flow.replay()).done == 2, "whoever was interrupted leaves no claim"
    assert flow.sent() == ["0/same", "1/same", "2/same"]


async def test_what_waits_behind_its_key_is_not_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow(retry=Retries(attempts=2, first="20ms", longest="20ms"))
    flow.stream.transform(flow.fails("check")).act(same, to=Memory("out"))
    flow.broken = {"check"}
    await flow.run(*(Step(number, "k", "check") for number in range(9)))
    monkeypatch.setattr(spill, "MOST", 1)
    monkeypatch.setattr(spill, "LONG", 0.0)
    done = await flow.replay()
    assert (done.done, done.again, len(await flow.letters())) == (0, 9, 9)
    assert await flow.store.read_maps(["penstock:steps:parked"]) == [{}]


# -- state -----------------------------------------------------------------------------------------------------------


def count(seen: int | None, step: Step) -> int:
    return (seen or 0) + 1


def number(step: Step) -> int:
    return step.id


async def counted(flow: Flow, stage: str) -> int:
    """How many events a state has counted."""
    [[packed]] = [found or [None] for found in await flow.store.read_hashes([f"penstock:steps:state:{stage}:k"], ["="])]
    return msgspec.msgpack.decode(packed, type=int) if packed else 0


@pytest.mark.parametrize("form", ["loop", "slot"])
async def test_a_replay_makes_the_updates_that_were_not_made_and_no_other(form: str) -> None:
    """Three states: before the failure, after it, and on a branch beside it. Each counts every event once."""
    flow = Flow(form)
    before = flow.stream.enrich(before=state(int, by="key", update=count))
    before.enrich(beside=state(int, by="key", update=count)).act(number, to=Memory("out"), stage="one")
    after = before.transform(flow.fails("shaky")).enrich(after=state(int, by="key", update=count))
    after.transform(flow.fails("end")).act(number, to=Memory("out"), stage="two")
    flow.broken = {"shaky"}
    await flow.run(Step(1, "k"), Step(2, "k", "shaky"), Step(3, "k", "shaky end"))
    assert [await counted(flow, stage) for stage in ("before", "beside", "after")] == [3, 3, 1]
    flow.broken = {"end"}
    replay = await flow.replay()
    assert (replay.done, replay.again) == (1, 1)
    assert [await counted(flow, stage) for stage in ("before", "beside", "after")] == [3, 3, 3]
    flow.broken = set()
    replay = await flow.replay()
    assert (replay.done, replay.again) == (1, 0)
    assert [await counted(flow, stage) for stage in ("before", "beside", "after")] == [3, 3, 3]
    assert sorted(flow.sent()) == ["1/one", "1/two", "2/one", "2/two", "3/one", "3/two"]


async def test_on_both_sides_of_a_topic() -> None:
    """What failed before a `through` is replayed into its topic; what failed after it, from there on."""
    flow = Flow()
    near = flow.stream.transform(flow.fails("near"))
    near.through(Streams("mid"), key="id").transform(flow.fails("far")).act(same, to=Memory("out"))
    mapped = {"redis:mid": Memory("mid", partitions=4)}

    def stand_in(endpoint: Endpoint) -> Endpoint:
        return mapped.get(endpoint.address, endpoint)

    async def live(records: int) -> None:
        site = Site(Settings({}), pipeline="steps")
        flow.topics = site.share("memory", lambda: flow.topics)
        b = Bench(Engine(flow.made.build(), site, flow.store, endpoint=stand_in), flow.topics, site)
        async with b:
            await b.until(lambda: b.confirmed("in") == 3 and b.confirmed("mid") == records)

    flow.topics.topic("in").extend(
        [msgspec.json.encode(step) for step in (Step(1, "k", "near"), Step(2, "k", "far"), Step(3, "k"))]
    )
    flow.broken = {"near", "far"}
    await live(2)
    letters = await flow.letters()
    assert [(letter.stage, letter.event) for letter in letters] == [("near", "1"), ("far", "2")]
    flow.broken.clear()
    assert (await flow.replay(stand_in=stand_in)).done == 2
    assert flow.sent() == ["3/same", "2/same"]
    await live(3)
    assert flow.sent() == ["3/same", "2/same", "1/same"]
