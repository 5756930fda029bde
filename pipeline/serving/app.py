"""Finding the pipeline that a command names: `file.py`, `module:pipeline`, `module:factory`."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import re
import runpy
import site
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType

import penstock
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.declaration.pipeline import Pipeline
from penstock.pipeline.graph import Graph


def load(app: str) -> Pipeline:
    """The pipeline that `app` names.

    A file is imported as the module it is: where it belongs to a package, the folder above that package goes onto
    the import path, so that `from .functions import ...` works. A module is looked for in the working folder first.
    Raises `ConfigError` where there is no such file, module or pipeline, naming the user's line where importing
    failed.
    """
    place, _, name = app.rpartition(":") if _has_name(app) else (app, "", "")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None) if name else _only(module, app)
    if found is None:
        raise ConfigError(f"{place} has no {name!r}{_offer(module, place)}")
    if not isinstance(found, Pipeline) and callable(found):
        found = _call(found, app)
    if not isinstance(found, Pipeline):
        raise ConfigError(f"{app} is a {type(found).__name__}, not a Pipeline nor a function that returns one")
    return found


def build(apps: Sequence[str]) -> list[Graph]:
    """The graphs of several apps. Two of one name would share their consumer group, so that is refused."""
    graphs: list[Graph] = []
    for app in apps:
        graph = load(app).build()
        if any(graph.name == other.name for other in graphs):
            raise ConfigError(f"{app}: another app is called {graph.name!r} too; each pipeline needs a name of its own")
        graphs.append(graph)
    return graphs


def run_script(path: Path) -> None:
    """Run a file as a program, with the package that it belongs to on the import path.

    Raises `ConfigError` with the user's line where it fails, unless it raised one of penstock's own errors.
    """
    path = path.resolve()
    root = _root(path)
    _first(root)
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    try:
        if "." in name:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(path), run_name="__main__")
    except PenstockError:
        raise
    except Exception as error:
        raise ConfigError(_failed(error, path)) from error


def _has_name(app: str) -> bool:
    """Whether a name follows the last colon; on Windows the first one may belong to a drive."""
    _, colon, name = app.rpartition(":")
    return bool(colon) and name.isidentifier()


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}{_elsewhere(path)}")
    path = path.resolve()
    root = _root(path)
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    loaded = sys.modules.get(name)
    if loaded is not None:
        if loaded.__file__ is not None and Path(loaded.__file__).resolve() == path:
            return loaded
        # Two apps in files of one name: the second gets a module name that no import statement can ask for.
        return _import_as(f"{name}@{path.parent}", path)
    _first(root)
    return _import(name, path)


def _root(path: Path) -> Path:
    """The folder to put on the import path: above the outermost package, or as far up as relative imports reach."""
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    if root == path.parent:
        for _ in range(_dots(path)):
            root = root.parent
    return root


def _dots(path: Path) -> int:
    """The dots of the longest relative import in a file that is in no declared package."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return 0
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _module(name: str) -> ModuleType:
    _first(Path.cwd())
    try:
        known = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        raise ConfigError(f"there is no module {name!r}; an app is file.py, module:pipeline or module:factory")
    return _import(name, Path(name))


def _first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except PenstockError:
        raise
    except Exception as error:
        raise ConfigError(_failed(error, path)) from error


def _import_as(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PenstockError:
        raise
    except Exception as error:
        raise ConfigError(_failed(error, path)) from error
    return module


def _failed(error: Exception, path: Path) -> str:
    """An error of the user's code in one line, with the innermost of the user's own lines."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [one for one in traceback.walk_tb(error.__traceback__) if _is_users(one[0].f_code.co_filename)]
    if not frames:
        return f"{path}: {error}"
    frame, line = frames[-1]
    return f"{frame.f_code.co_filename}:{line}: {type(error).__name__}: {error}{_meant(error, frame)}"


def _is_users(file: str) -> bool:
    """Whether a file is none of Python's own, this package's, or an installed one's."""
    libraries = (*penstock.__path__, *site.getsitepackages(), str(Path(traceback.__file__).parent))
    return not file.startswith("<") and not any(Path(file).is_relative_to(one) for one in libraries)


def _meant(error: Exception, frame: FrameType) -> str:
    """What to write instead, where a name was not found."""
    if isinstance(error, ModuleNotFoundError):
        beside = Path(frame.f_code.co_filename).with_name(f"{error.name}.py").is_file()
        return f": did you mean '.{error.name}'?" if beside else f"; is it installed for {sys.executable}?"
    if isinstance(error, ImportError):
        wanted, known = _NAME.search(str(error)), dir(sys.modules.get(error.name or ""))
    elif isinstance(error, NameError):
        wanted, known = _NAME.search(str(error)), [*frame.f_globals, *frame.f_locals, *frame.f_builtins]
    elif isinstance(error, AttributeError):
        wanted, known = _NAME.search(repr(error.name)), dir(error.obj)
    else:
        return ""
    near = difflib.get_close_matches(wanted[1], known, n=1) if wanted else []
    return f": did you mean {near[0]!r}?" if near else ""


_NAME = re.compile(r"'(\w+)'")


def _elsewhere(path: Path) -> str:
    """Where a file was looked for, and where it is, if that is one folder further down."""
    if path.is_absolute():
        return ""
    found = list(Path().glob(f"*/{path.name}"))
    return f" in {Path.cwd()}" + (f": did you mean {found[0]}?" if len(found) == 1 else "")


def _only(module: ModuleType, app: str) -> Pipeline:
    found = {name: value for name, value in vars(module).items() if isinstance(value, Pipeline)}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    if not found and hasattr(module, "__path__") and importlib.util.find_spec(".app", module.__name__):
        raise ConfigError(f"{app} is a package: write {app}.app, or the path of its file")
    if not found:
        raise ConfigError(f"{app} has no Pipeline; name a function that makes one: {app}:make_pipeline")
    raise ConfigError(f"{app} has several pipelines: write {' or '.join(f'{app}:{name}' for name in found)}")


def _offer(module: ModuleType, place: str) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Pipeline)]
    return f": write {' or '.join(f'{place}:{name}' for name in names)}" if names else ""


def _call(factory: object, app: str) -> object:
    assert callable(factory)
    try:
        made: object = factory()
    except PenstockError:
        raise
    except Exception as error:
        raise ConfigError(_failed(error, Path(app))) from error
    return made
