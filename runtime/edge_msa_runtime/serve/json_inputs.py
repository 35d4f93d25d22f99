"""Utterances in JSON. What is wrong with one is said in the terms of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.serve.guard import RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 40
_INPUTS = ("text", *MODALITIES, "valid", "truncate", "context")


def parse_utterance(body: bytes, most_containers: int) -> dict[str, Any]:
    """Return the arguments of `Session.predict` that a JSON body has.

    Args:
        body: the body.
        most_containers: arrays and objects that it may have. Brackets in texts count, too.

    Raises:
        RefusedError: the body is not an utterance.
    """
    count = body.count(b"[") + body.count(b"{")
    if count > most_containers:
        raise RefusedError(422, f"The body must have at most {most_containers} arrays and objects, got {count}.")
    value = _load(body)
    if not isinstance(value, Mapping):
        raise RefusedError(422, f"The body must be a JSON object, got {_show(value)}.")
    _check_names(value)
    inputs = {name: item for name, item in value.items() if item is not None}
    masks = inputs.get("valid", {})
    if not isinstance(masks, Mapping):
        raise RefusedError(422, f"valid must be an object with masks by modality, got {_show(masks)}.")
    for name in MODALITIES:
        if name in inputs:
            inputs[name] = _parse_frames(name, inputs[name])
            if masks.get(name) is not None:
                _check_mask(name, masks[name], len(inputs[name]))
    return inputs


def _load(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RefusedError(422, f"The body must be UTF-8, but byte {error.start} is not.") from None
    except RecursionError:
        raise RefusedError(422, "The body has too many nested brackets.") from None
    except json.JSONDecodeError as error:
        raise RefusedError(422, f"The body must be JSON: {error.msg} at column {error.colno}.") from None
    except ValueError:  # Python's limit for digits
        raise RefusedError(422, "The body has a number with too many digits. Send numbers of float32.") from None


def _check_names(value: Mapping[str, Any]) -> None:
    for name in value:
        if name not in _INPUTS:
            raise RefusedError(422, f"Unknown field {name!r:.40}. Known fields: {', '.join(_INPUTS)}.")


def _parse_frames(name: str, value: Any) -> NDArray[Any]:
    """Return the frames of a modality. The session checks their number of values."""
    import numpy as np

    if not isinstance(value, list):
        raise RefusedError(422, f"{name} must be a list of frames, each a list of numbers, got {_show(value)}.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise RefusedError(422, f"The frames of {name} must be lists of as many numbers each.") from None
    if array.size and array.dtype.kind not in "iuf":
        raise RefusedError(422, f"The frames of {name} must be lists of numbers of float32, got {_show(value)}.")
    return array


def _check_mask(name: str, mask: Any, count: int) -> None:
    if not isinstance(mask, list) or len(mask) != count or not all(isinstance(item, bool) for item in mask):
        got = f"{len(mask)} values" if isinstance(mask, list) and len(mask) != count else _show(mask)
        raise RefusedError(
            422, f"The mask of {name} must be a list with true or false for each frame ({count}), got {got}."
        )


def _show(value: Any) -> str:
    """Return the start of a value, as it was sent."""
    text = ""
    for part in json.JSONEncoder().iterencode(value):
        text += part
        if len(text) > _SHOWN:
            return f"{text[:_SHOWN]}..."
    return text
