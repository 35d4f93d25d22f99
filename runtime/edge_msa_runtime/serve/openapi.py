"""The description of the HTTP interface in the format OpenAPI 3.1, for one bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime import __version__
from edge_msa_runtime.text.tokenizer import TRUNCATIONS

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest, TaskSpec
    from edge_msa_runtime.serve.limits import Limits

_NUMBER_OR_NULL = {"type": ["number", "null"]}


def describe_api(manifest: Manifest, limits: Limits, *, accepts_media: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        manifest: of the bundle.
        limits: of the application.
        accepts_media: whether `/predict` takes media files.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{manifest.name}: sentiment from text, audio and vision",
            "version": __version__,
            "description": "Nothing that is sent is recorded. An error is answered with one line.",
        },
        "paths": {
            "/predict": {"post": _describe_predict(manifest, limits, accepts_media=accepts_media)},
            "/bundle": {"get": _describe_get("What the bundle takes and predicts.")},
            "/health": {"get": _describe_get("Whether the server works, and how many live streams it has.")},
        },
        "components": {
            "schemas": {
                "Utterance": _utterance_schema(manifest),
                "Prediction": _prediction_schema(manifest),
                "Error": _object({"error": {"type": "string", "description": "What is wrong, and what to do."}}),
            }
        },
    }


def _describe_predict(manifest: Manifest, limits: Limits, *, accepts_media: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {"schema": _reference("Utterance"), "example": example_utterance(manifest)}
    }
    parameters = []
    description = f"JSON of at most {limits.json_bytes:,} bytes."
    if accepts_media:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
        description += (
            f" Or the content of a sound or video file of at most {limits.media_bytes:,} bytes and "
            f"{limits.media_seconds:g} s, as one utterance."
        )
        parameters = [_text_parameter()] if manifest.language is not None else []
    errors = {
        "400": "The connection ended before the body was complete.",
        "403": "The request came from another web page, or with another host name.",
        "408": "The body did not arrive in time.",
        "413": "The body is too large.",
        "422": "The input does not fit the bundle.",
        "503": "Too many files or bytes are being processed. Send it again later.",
    }
    return {
        "summary": "Predict the sentiment of one utterance.",
        "description": description,
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _response("The prediction.", _reference("Prediction")),
            **{status: _response(text, _reference("Error")) for status, text in errors.items()},
        },
    }


def _text_parameter() -> dict[str, Any]:
    return {
        "name": "text",
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": "What is said in the file. Default: the words of the speech recognizer, if the server has one.",
    }


def _describe_get(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _response(summary, {"type": "object"})}}


def _response(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Any], required: tuple[str, ...] | None = None) -> dict[str, Any]:
    names = list(properties if required is None else required)
    return {
        "type": "object",
        "properties": dict(properties),
        **({"required": names} if names else {}),
        "additionalProperties": False,
    }


def _utterance_schema(manifest: Manifest) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if manifest.language is not None:
        properties["text"] = {"type": "string", "description": "What is said."}
        properties["truncate"] = {
            "type": "string",
            "enum": list(TRUNCATIONS),
            "default": "end",
            "description": f"What to do with a text of more than {manifest.language.max_tokens} tokens.",
        }
        if manifest.language.context:
            properties["context"] = {
                "type": "array",
                "items": {"type": "string"},
                "description": f"Texts of earlier utterances of the conversation, the newest last. The last "
                f"{manifest.language.context} count.",
            }
    for name, spec in manifest.modalities.items():
        source = spec.features.describe()
        properties[name] = {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": spec.dim, "maxItems": spec.dim},
            "description": f"Frames of {spec.dim} features, not normalized. Features: {source}.",
        }
    mask = {"type": "array", "items": {"type": "boolean"}}
    properties["valid"] = {
        **_object(dict.fromkeys(manifest.modalities, mask), ()),
        "description": "Masks: one value per frame, false for a frame that does not count.",
    }
    return {
        **_object(properties, ()),
        "description": "Any subset of the modalities, at least one. Leave out what you do not have.",
    }


def _prediction_schema(manifest: Manifest) -> dict[str, Any]:
    score: dict[str, Any] = dict(_NUMBER_OR_NULL)
    if manifest.task.low is not None and manifest.task.high is not None:
        score.update(minimum=manifest.task.low, maximum=manifest.task.high)
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {
            "score": {**score, "description": "Null for classes and emotions."},
            "label": {"type": "string"},
            "probabilities": _probabilities_schema(manifest.task),
            "interval": {
                "type": ["array", "null"],
                "items": {"type": "number"},
                "minItems": 2,
                "maxItems": 2,
                "description": "Contains the label with the coverage of the server. Null for classes and emotions.",
            },
            "prediction_set": {
                "type": ["array", "null"],
                "items": {"type": "string"},
                "minItems": 1,
                "description": "Classes that contain the label with the coverage of the server, the most probable "
                "first. Null for scores and emotions.",
            },
            "subset": {"type": "string", "description": "Modalities that were used, such as la."},
            "latency_ms": {"type": "number"},
            "warnings": texts,
            "media": {
                "type": "object",
                "description": "Only for a file: its duration, frames by modality, words, and notes.",
            },
        },
        "required": [
            "score",
            "label",
            "probabilities",
            "interval",
            "prediction_set",
            "subset",
            "latency_ms",
            "warnings",
        ],
    }


def _probabilities_schema(task: TaskSpec) -> dict[str, Any]:
    if task.is_score:
        return {"type": "object", "maxProperties": 0, "description": "Empty for scores."}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    what = "class; their sum is 1" if task.kind == "classes" else "emotion, independent of the others"
    return {**_object(dict.fromkeys(task.labels, probability), task.labels), "description": f"Of each {what}."}


def example_utterance(manifest: Manifest) -> dict[str, Any]:
    """Return a request that works: a short text, or one modality with two frames of zeros."""
    if manifest.language is not None:
        return {"text": "i love it"}
    name, spec = next(reversed(list(manifest.modalities.items())))
    return {name: [[0.0] * spec.dim] * 2}
