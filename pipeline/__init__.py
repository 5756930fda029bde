"""The declaration, the graph, the engine; above them the command line and the console."""

if __name__ != "penstock.pipeline":
    raise ImportError(
        "import this package as `penstock.pipeline`; its bare name would make a second copy of every class"
    )

from penstock.pipeline.declaration.pipeline import Pipeline, Stream, merge
from penstock.pipeline.graph import Graph

__all__ = ["Graph", "Pipeline", "Stream", "merge"]
