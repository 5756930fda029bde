"""Where a version comes from: the code, the libraries, the data."""

from __future__ import annotations

import platform
import subprocess
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_LIBRARIES = ("penstock", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")


def lineage_of(estimator: Any) -> dict[str, Any]:
    """What can be known without being told: the estimator, the commit it was trained at, the libraries."""
    found: dict[str, Any] = {"estimator": repr(estimator)[:2000], "python": platform.python_version(), "libraries": {}}
    for library in _LIBRARIES:
        try:
            found["libraries"][library] = version(library)
        except PackageNotFoundError:
            continue
    commit = _git("rev-parse", "HEAD")
    if commit:
        found["commit"] = commit
        found["uncommitted_changes"] = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return found


def data_of(*tables: Any) -> dict[str, Any]:
    """How many rows some tables have, and the SHA-256 digest of their values."""
    import numpy

    content = sha256()
    for table in tables:
        values = numpy.ascontiguousarray(table)
        content.update(str(values.shape).encode())
        content.update(values.tobytes() if values.dtype != object else repr(values.tolist()).encode())
    return {"rows": len(tables[0]), "digest": f"sha256:{content.hexdigest()}"}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
