"""From a fitted scikit-learn estimator to ONNX, in a child process that may hang or crash without harm."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from penstock.errors import ConfigError, NotPublished
from penstock.models.manifest import Input
from penstock.models.session import TENSOR

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Old enough for every supported onnxruntime."""


def export(
    estimator: Any, inputs: Sequence[Input], *, packed: bool, classifier: bool, timeout: float
) -> tuple[bytes, str]:
    """The estimator as an ONNX model, and the name of the output that holds its scores or numbers.

    Raises `NotPublished` where there is no conversion, it does not end within `timeout` seconds, or it crashes.
    """
    try:
        import skl2onnx  # noqa: F401  (imported here so that the child has it at once)
    except ImportError as error:
        raise ConfigError(f"exporting a model needs skl2onnx: pip install 'penstock[train]' ({error})") from error
    name = type(estimator).__name__
    # A forked child has the estimator already. Elsewhere it travels to the child, as multiprocessing sends arguments.
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, estimator, list(inputs), packed, classifier), daemon=True)
    with warnings.catch_warnings():
        # The child converts with one thread, runs nothing else and leaves without clean-up.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            raise NotPublished(
                f"converting {name} to ONNX did not end within {timeout:g} s and was stopped; "
                f"give more time with timeout=, or use another estimator (QuantileTransformer is known never to end)"
            )
        outcome, content, output = receiver.recv_bytes(), receiver.recv_bytes(), receiver.recv_bytes().decode()
    except EOFError:
        child.join()
        raise NotPublished(f"converting {name} to ONNX crashed: {_ending(child.exitcode)}") from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if outcome != b"ok":
        raise NotPublished(f"{name} cannot be converted to ONNX: {output}")
    return content, output


def _child(sender: Connection, estimator: Any, inputs: list[Input], packed: bool, classifier: bool) -> None:
    try:
        from threadpoolctl import threadpool_limits

        # The parent's OpenMP threads do not exist here, and waiting for them would never end.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            content, output = _convert(estimator, inputs, packed, classifier)
        outcome = b"ok"
    except Exception as error:  # whatever it is, the parent reports it
        outcome, content, output = b"failed", b"", _first_line(error)
    for part in (outcome, content, output.encode()):
        sender.send_bytes(part)
    sender.close()


def _convert(estimator: Any, inputs: list[Input], packed: bool, classifier: bool) -> tuple[bytes, str]:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    kinds = {"float32": FloatTensorType, "float64": DoubleTensorType, "string": StringTensorType}
    if packed:
        types = [(TENSOR, kinds[inputs[0].type]([None, len(inputs)]))]
    else:
        types = [(entry.name, kinds[entry.type]([None, 1])) for entry in inputs]
    # Without this option probabilities come as a list of dicts, made one by one.
    options = {id(estimator): {"zipmap": False}} if classifier else None
    model: Any = to_onnx(estimator, initial_types=types, options=options, target_opset=OPSETS)
    outputs = [output.name for output in model.graph.output]
    return model.SerializeToString(), outputs[1 if classifier else 0]


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"the process ended with exit code {code}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0] if lines else 'no reason given'} ({type(error).__name__})"
