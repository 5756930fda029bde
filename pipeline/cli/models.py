"""`penstock models`: train, list, show, promote."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.pipeline.cli.columns import show as show_columns
from penstock.pipeline.serving.progress import Bar

if TYPE_CHECKING:
    from penstock.models import Progress, Registry, Version

commands = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Ref = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version or an alias: fraud@3, fraud@champion.")]


def _registry() -> Registry:
    from penstock.models import open_registry
    from penstock.pipeline.serving.local import settings

    return open_registry(settings().process.models)


@commands.command("train", epilog="Example: penstock models train train.py")
def train(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file that calls penstock.models.publish.")],
) -> None:
    """Run a training script and list what it published. Needs the extra `train`; nothing of it is needed to serve."""
    from pathlib import Path

    from penstock.models.script import running
    from penstock.pipeline.serving.app import run_script

    if not Path(file).is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    with Bar(file) as bar, running(_registry(), lambda news: _shown(news, bar)) as script:
        run_script(Path(file))
    for version in script.published:
        typer.echo(f"published {version}  {_metrics(version)}")
    for version, alias in script.moves:
        typer.echo(f"{version.name}@{alias} is version {version.number}")
    if not script.published and not script.moves:
        print(f"{file} published nothing: it should call penstock.models.publish(...)", file=sys.stderr)
        raise typer.Exit(1)


def _shown(news: Progress, bar: Bar) -> None:
    if sys.stderr.isatty():
        bar.set(news.done, news.steps, news.text)
        return
    counted = f"[{news.done}/{news.steps}] " if news.steps else ""
    print(f"{counted}{news.text}", file=sys.stderr, flush=True)


@commands.command("list", epilog="Example: penstock models list card-fraud")
def list_(name: Annotated[str, typer.Argument(metavar="NAME", help="One model; all by default.")] = "") -> None:
    """The models of the registry (PENSTOCK_MODELS), their versions and aliases."""
    registry = _registry()
    names = [name] if name else registry.names()
    rows: list[list[str]] = []
    for one in names:
        aliases = registry.aliases(one)
        for number in reversed(registry.versions(one)):
            version = registry.resolve(f"{one}@{number}")
            here = ", ".join(alias for alias, at in aliases.items() if at == number)
            rows.append([one, str(number), here, version.manifest.created, _metrics(version)])
    if not rows:
        what = f"no model {name!r}" if name else "no model"
        print(f"there is {what} in {registry.address}: penstock models train FILE makes one", file=sys.stderr)
        raise typer.Exit(1 if name else 0)
    show_columns(["model", "version", "aliases", "created", "metrics"], rows)


@commands.command("show", epilog="Example: penstock models show card-fraud@champion")
def show(ref: Ref) -> None:
    """Everything a version says of itself, as JSON: inputs, metrics, how its export compares, lineage, digests."""
    version = _registry().resolve(ref)
    typer.echo(version.manifest.encode().decode(), nl=False)


@commands.command(
    "promote", epilog="Example: penstock models promote card-fraud@3 --alias champion --note 'better AUC'"
)
def promote(
    ref: Ref,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion",
    note: Annotated[str, typer.Option(help="Why; it is kept in the alias's history.")] = "",
) -> None:
    """Move an alias to a version. Pipelines that start from now on use it."""
    registry = _registry()
    version = registry.resolve(ref)
    before = registry.aliases(version.name).get(alias)
    registry.promote(version, alias, note=note)
    was = f" (was version {before})" if before is not None else ""
    typer.echo(f"{version.name}@{alias} is version {version.number}{was}")


def _metrics(version: Version) -> str:
    return "  ".join(f"{metric} {value:.4g}" for metric, value in version.manifest.metrics.items())
