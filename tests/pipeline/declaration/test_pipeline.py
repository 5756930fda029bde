"""What users write: pipelines, streams, and the place of each call."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import DeclarationError, Pipeline, Stream, merge
from penstock.errors import Where
from tests.pipeline.shop import OUT, Finding, Payment, big, decide, double, judge, payments


def this_line(back: int = 0) -> int:
    import inspect

    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno - back


def test_each_stage_knows_its_line_in_a_chain() -> None:
    pipeline: Any = Pipeline("demo")
    first = this_line() + 2
    (
        payments(pipeline)
        .transform(double)
        .filter(
            big,
        )
        .enrich(
            profile=Finding(),
        )
        .act(judge, to=OUT)
    )
    graph = pipeline.build()
    assert graph.where == Where(__file__, first - 3)
    assert [node.where.line - first for node in graph][1:] == [1, 2, 5, 8]
    assert {node.where.file for node in list(graph)[1:]} == {__file__}


def doubled(stream: Stream[Payment], times: int, *, stage: str = "double") -> Stream[Payment]:
    for number in range(times):
        stream = stream.transform(double, stage=f"{stage} {number}")
    return stream


def test_a_piece_of_pipeline_is_a_function_of_a_stream() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).pipe(doubled, 2, stage="twice").act(decide, to=OUT)
    graph = pipeline.build()
    assert [node.stage for node in graph] == ["payments", "twice 0", "twice 1", "decide"]
    assert graph.node(1).where.line == doubled.__code__.co_firstlineno + 2


def test_using_a_stream_twice_is_fan_out() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.act(decide, to=OUT)
    stream.transform(double).act(decide, to=OUT, stage="doubled")
    graph = pipeline.build()
    assert [node.kind for node in graph.consumers(0)] == ["act", "transform"]


def test_after_an_act_the_stream_goes_on_with_its_payload_and_names() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).enrich(profile=Finding()).act(decide, to=OUT).act(judge, to=OUT)
    assert pipeline.build().node(3).payload is Payment


def test_things_say_what_they_are() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    assert (repr(pipeline), repr(stream), repr(merge(stream))) == (
        "Pipeline('demo')",
        "Stream('demo', source)",
        "Stream('demo', merge)",
    )


def test_a_graph_is_frozen_data() -> None:
    pipeline: Any = Pipeline("demo")
    payments(pipeline).infer("m@champion", challenger="m@challenger", shadow="m@champion").act(decide, to=OUT)
    graph = pipeline.build()
    assert (len(graph.sources), len(graph.acts), graph.models) == (1, 1, ("m@champion", "m@challenger"))
    with pytest.raises(AttributeError):
        graph.name = "other"


def test_a_mistake_outside_a_pipeline_has_its_line_too() -> None:
    with pytest.raises(DeclarationError) as refused:
        merge()
    assert refused.value.where == Where(__file__, this_line(back=1))


def test_the_first_mistake_in_the_order_of_lines_is_told() -> None:
    pipeline: Any = Pipeline("demo")
    stream = payments(pipeline)
    stream.transform(7, stage="seven").end()
    stream.transform(8, stage="eight").end()
    with pytest.raises(DeclarationError, match=r"'seven' is 7: give a function$"):
        pipeline.build()
