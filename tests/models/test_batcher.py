"""Many questions, one run; a failing row alone; short runs on the loop and long ones off it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BadEvent
from penstock.models import Batcher, Model, Prediction
from penstock.models.rows import Row
from penstock.models.session import Cost
from tests.models.conftest import Published


class Counting:
    """A model that says what it was asked: rows are one byte, and the byte is the value. 255 cannot be answered."""

    def __init__(self, cost: Cost = Cost(0.0, 0.0)) -> None:  # noqa: B008
        self.cost = cost
        self.asked: list[list[int]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, rows: Sequence[Row]) -> list[Prediction]:
        self.threads.add(threading.get_ident())
        self.gate.wait(10)
        numbers = [row[0] for row in rows]
        self.asked.append(numbers)
        if 255 in numbers:
            raise ValueError("255 is nobody's number")
        return [Prediction(float(number)) for number in numbers]


def row(number: int) -> bytes:
    return bytes([number])


@pytest.fixture
def model(boosting: Published) -> Model:
    return boosting.load()


async def test_what_asks_in_one_turn_of_the_loop_is_one_run() -> None:
    model = Counting()
    batcher = Batcher(model)
    answers = await asyncio.gather(*[batcher.predict(row(number)) for number in range(5)])
    assert [answer.value for answer in answers] == [0, 1, 2, 3, 4]
    assert model.asked == [[0, 1, 2, 3, 4]]
    await batcher.predict(row(9))
    assert model.asked[1:] == [[9]]


async def test_a_run_takes_at_most_max_batch() -> None:
    model = Counting()
    batcher = Batcher(model, max_batch=2)
    await asyncio.gather(*[batcher.predict(row(number)) for number in range(5)])
    assert model.asked == [[0, 1], [2, 3], [4]]
    answers = await batcher.predict_many([row(number) for number in range(3)])
    assert answers == [Prediction(0.0), Prediction(1.0), Prediction(2.0)]
    assert model.asked[3:] == [[0, 1], [2]]
    assert await batcher.predict_many([]) == []


async def test_with_max_wait_rows_gather_until_the_batch_is_full() -> None:
    model = Counting()
    batcher = Batcher(model, max_batch=3, max_wait=60.0)
    first = [batcher.predict(row(0)), batcher.predict(row(1))]
    for _ in range(3):
        await asyncio.sleep(0)
    assert model.asked == []
    first.append(batcher.predict(row(2)))
    await asyncio.gather(*first)
    assert model.asked == [[0, 1, 2]]
    late = batcher.predict(row(3))
    await batcher.close()
    assert (await late).value == 3


async def test_predict_many_does_not_suspend_while_runs_are_short() -> None:
    waiting = Batcher(Counting()).predict_many([row(1)])
    with pytest.raises(StopIteration) as stop:
        waiting.send(None)
    assert stop.value.value == [Prediction(1.0)]


async def test_a_failing_row_stands_alone_and_the_others_are_answered_once() -> None:
    model = Counting()
    batcher = Batcher(model)
    numbers = [1, 2, 255, 4, 5, 6, 255, 8]
    answers = await batcher.predict_many([row(number) for number in numbers])
    assert [type(answer) for answer in answers] == [ValueError if number == 255 else Prediction for number in numbers]
    answered = [number for asked in model.asked if 255 not in asked for number in asked]
    assert sorted(answered) == [1, 2, 4, 5, 6, 8]
    futures = [batcher.predict(row(number)) for number in numbers]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [result.value if isinstance(result, Prediction) else None for result in results] == [
        None if number == 255 else number for number in numbers
    ]
    assert batcher.statistics().failed == 4


@given(st.lists(st.sampled_from([0, 1, 2, 255]), max_size=40), st.integers(1, 9))
def test_every_row_gets_its_own_answer(numbers: list[int], max_batch: int) -> None:
    model = Counting()
    answers = asyncio.run(Batcher(model, max_batch=max_batch).predict_many([row(number) for number in numbers]))
    assert [answer.value if isinstance(answer, Prediction) else 255 for answer in answers] == numbers
    answered = [number for asked in model.asked if 255 not in asked for number in asked]
    assert sorted(answered) == sorted(number for number in numbers if number != 255)


async def test_a_cancelled_question_does_not_disturb_the_others() -> None:
    batcher = Batcher(Counting())
    one, two, three = (batcher.predict(row(number)) for number in range(3))
    two.cancel()
    assert ((await one).value, (await three).value) == (0, 2)
    assert two.cancelled()


async def test_long_runs_leave_the_loop_and_rows_gather_meanwhile() -> None:
    model = Counting(Cost(0.5, 0.0))
    model.gate.clear()
    batcher = Batcher(model)
    first = batcher.predict(row(0))
    await asyncio.sleep(0)
    many = asyncio.create_task(batcher.predict_many([row(7)]))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not first.done()
    later = [batcher.predict(row(number)) for number in (1, 2)]
    model.gate.set()
    assert [answer.value for answer in await asyncio.gather(first, *later)] == [0, 1, 2]
    assert await many == [Prediction(7.0)]
    assert threading.get_ident() not in model.threads
    assert batcher.statistics().threaded
    await batcher.close()


async def test_runs_that_prove_short_come_back_to_the_loop() -> None:
    model = Counting(Cost(0.01, 0.0))
    batcher = Batcher(model)
    for number in range(200):
        await batcher.predict(row(number))
        if not batcher.statistics().threaded:
            break
    else:
        pytest.fail("every run went to a thread")
    assert threading.get_ident() in model.threads


async def test_it_counts() -> None:
    batcher = Batcher(Counting())
    assert batcher.statistics().mean_batch == 0.0
    futures = [batcher.predict(row(number)) for number in range(6)]
    assert batcher.statistics().waiting == 6
    await asyncio.gather(*futures)
    await batcher.predict(row(1))
    statistics = batcher.statistics()
    assert (statistics.runs, statistics.rows, statistics.failed, statistics.waiting) == (2, 7, 0, 0)
    assert statistics.mean_batch == 3.5
    assert statistics.seconds >= 0


async def test_a_real_model_answers_in_batches(boosting: Published, model: Model) -> None:
    batcher = Batcher(model)
    make = model.row_for(list)
    values = boosting.data.held_x[:100]
    expected = boosting.estimator.predict_proba(values)[:, 1]
    answers = await asyncio.gather(*[batcher.predict(make(value)) for value in values.tolist()])
    assert [answer.value for answer in answers] == pytest.approx(expected, abs=1e-5)
    assert batcher.statistics().rows == 100


async def test_one_bad_event_does_not_harm_the_others(boosting: Published, model: Model) -> None:
    batcher = Batcher(model)
    make = model.row_for(list)
    rows = [make(value) for value in boosting.data.held_x[:64].tolist()]
    rows[10] = make([math.nan] * 20)
    answers = await batcher.predict_many(rows)
    bad = answers[10]
    assert isinstance(bad, BadEvent)
    assert "feature 'feature_0' is nan" in str(bad)
    assert sum(isinstance(answer, Prediction) for answer in answers) == 63


class Silent(Counting):
    """A model that says nothing of the number 7."""

    def run(self, rows: Sequence[Row]) -> list[Prediction]:
        return [answer for answer in super().run(rows) if answer.value != 7]


async def test_a_row_that_gets_no_answer_fails_alone() -> None:
    batcher = Batcher(Silent())
    asked = [batcher.predict(row(number)) for number in range(6, 9)]
    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
    assert [answers[0], answers[2]] == [Prediction(6.0), Prediction(8.0)]
    assert isinstance(answers[1], ValueError) and "answers 1 rows with 0 predictions" in str(answers[1])


async def test_an_executor_that_has_ended_fails_those_who_ask() -> None:
    executor = ThreadPoolExecutor()
    executor.shutdown()
    batcher = Batcher(Counting(Cost(1.0, 0.0)), executor=executor)
    with pytest.raises(RuntimeError, match="after shutdown"):
        await asyncio.wait_for(batcher.predict(row(1)), 10)
    await batcher.close()
