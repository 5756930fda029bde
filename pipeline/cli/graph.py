"""`penstock check` and `penstock graph`: what a pipeline is, without running it."""

from __future__ import annotations

from typing import Annotated

import typer

CHECK_EXAMPLE = "Example: penstock check app.py"
GRAPH_EXAMPLE = "Example: penstock graph app.py --mermaid > pipeline.mmd"

Apps = Annotated[list[str], typer.Argument(metavar="APP", help="file.py, module:pipeline or module:factory.")]
App = Annotated[str, typer.Argument(metavar="APP", help="file.py, module:pipeline or module:factory.")]


def check(
    apps: Apps,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with code 2 where a setting or a model is missing, or a setting misspelt."),
    ] = False,
) -> None:
    """Build pipelines and say what is in them, and which settings are missing. Nothing is connected to."""
    from penstock.connectors import Settings
    from penstock.pipeline.serving.app import build
    from penstock.pipeline.serving.needs import endpoints, missing, missing_models, unknown

    settings = Settings()
    strange = unknown(settings)
    incomplete = bool(strange)
    for graph in build(apps):
        sources, sinks = endpoints(graph)
        stages = [node for node in graph if node.kind not in ("source", "merge", "end")]
        facts = {
            "stages": ", ".join(f"{node.kind} {node.stage}" if node.stage else node.kind for node in stages),
            "reads": ", ".join(endpoint.address for endpoint in sources),
            "acts to": ", ".join([*(endpoint.address for endpoint in sinks), *_replies(graph)]),
            "models": ", ".join(graph.models),
        }
        typer.echo(f"{graph.name} is well declared")
        for name, fact in facts.items():
            if fact:
                typer.echo(f"  {name:<9}{fact}")
        problems = missing(graph, settings) + missing_models(graph, settings)
        for problem in problems:
            typer.echo(f"  missing  {problem}")
        incomplete = incomplete or bool(problems)
    for line in strange:
        typer.echo(line)
    if incomplete and strict:
        raise typer.Exit(2)


def graph(
    app: App,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart, for documents.")] = False,
    code: Annotated[
        bool, typer.Option("--code", help="The Python functions that run the events of each source.")
    ] = False,
) -> None:
    """Draw a pipeline: a tree of its stages and what flows between them."""
    from penstock.pipeline.code.program import text_of
    from penstock.pipeline.drawing import mermaid as flowchart
    from penstock.pipeline.drawing import tree
    from penstock.pipeline.serving.app import load

    if mermaid and code:
        raise typer.BadParameter("choose one of --mermaid and --code")
    drawn = load(app).build()
    if code:
        text = "\n\n".join(f"# {source.stage}\n{text_of(drawn, source)}" for source in drawn.sources)
    else:
        text = flowchart(drawn) if mermaid else tree(drawn)
    typer.echo(text, nl=False)


def _replies(drawn: object) -> list[str]:
    from penstock.pipeline.graph import Graph
    from penstock.pipeline.serving.needs import REPLY

    assert isinstance(drawn, Graph)
    return [REPLY] if any(one.address == REPLY for act in drawn.acts for one in act.to) else []
