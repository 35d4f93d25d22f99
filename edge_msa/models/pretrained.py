"""Pre-trained text encoders such as BERT, loaded with transformers from a folder or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_msa.console import is_verbose
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.models.encoder_layers import Layers, keep_layers
from edge_msa.models.text_encoders import max_tokens

_DIGITS = 12


@dataclass(frozen=True)
class PretrainedEncoder:
    """A BERT-like model in evaluation mode, and its tokenizer in the JSON format of the tokenizers library."""

    name: str
    tokenizer: str
    model: Any

    @property
    def version(self) -> str:
        """A digest of the tokenizer and the weights, and the revision on the hub if it is known."""
        digest = hashlib.sha256(self.tokenizer.encode())
        for name, value in sorted(self.model.state_dict().items()):
            values = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
            digest.update(name.encode() + values.numpy().tobytes())
        revision = getattr(self.model.config, "_commit_hash", None)
        suffix = f" revision {revision[:_DIGITS]}" if revision else ""
        return f"sha256 {digest.hexdigest()[:_DIGITS]}{suffix}"

    @property
    def width(self) -> int:
        """Number of features per token."""
        return int(self.model.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text."""
        return max_tokens(self.model)


def load_encoder(source: str, *, layers: Layers | None = None, device: torch.device | None = None) -> PretrainedEncoder:
    """Load a pre-trained encoder.

    Args:
        source: A folder with config.json, weights and tokenizer, or a model name on the Hugging Face hub.
        layers: Layers to keep: the first N, or those with these indices (default: all).
        device: Device to move the model to (default: the CPU).

    Raises:
        BackendUnavailableError: transformers is not installed, or the hub cannot be reached.
        UsageError: The source is not such a model, or does not have these layers.
    """
    transformers = import_transformers("Encoding text")
    local = Path(source).is_dir()
    if not local and ("/" not in source or source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise UsageError(
            f"{source} is neither a folder nor a model name. "
            "Pass a folder, or a name on the hub such as sentence-transformers/all-MiniLM-L6-v2."
        )
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=local)
        model, report = transformers.AutoModel.from_pretrained(
            source, local_files_only=local, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # noqa: BLE001 - safetensors, tokenizers and configs raise different exceptions
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if local:
            raise UsageError(f"transformers cannot load an encoder from {source}: {first}") from None
        raise BackendUnavailableError(
            f"Cannot download {source}: {first}. Download it yourself and pass its folder."
        ) from None
    if tokenizer.pad_token is None or getattr(model.config, "is_encoder_decoder", False):
        raise UsageError(
            f"{source} is not an encoder like BERT. "
            "Pass one whose tokenizer has a padding token, such as sentence-transformers/all-MiniLM-L6-v2."
        )
    if not tokenizer.is_fast:
        raise UsageError(f"{source} has no fast tokenizer. Pass a folder with tokenizer.json.")
    _check_weights(report, source)
    if layers is not None:
        keep_layers(model, layers, source)
    text = _tokenizer_json(tokenizer, source, local=local)
    name = Path(source).resolve().name if local else source
    model = model.float().eval().to(device or torch.device("cpu"))  # checkpoints may be in float16 or bfloat16
    return PretrainedEncoder(name, text, model)


def import_transformers(purpose: str) -> Any:
    """Return the transformers package. Its messages and progress bars are hidden without `--verbose`.

    Args:
        purpose: What needs the package, the start of the error message.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise BackendUnavailableError(
            f"{purpose} needs the transformers package. Install it with pip install 'edge-msa[text]'."
        ) from None
    if is_verbose():
        logging.set_verbosity_warning()  # type: ignore[no-untyped-call]
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    else:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return transformers


def _tokenizer_json(tokenizer: Any, source: str, *, local: bool) -> str:
    """Return a tokenizer in the format of the tokenizers library.

    transformers builds some tokenizers again, such as that of XLM-R, and then lacks the normalizer of tokenizer.json.
    That of BERT follows other files in addition, such as `do_lower_case` in tokenizer_config.json.
    """
    from tokenizers import Tokenizer
    from transformers.utils.hub import cached_file

    built: str = tokenizer.backend_tokenizer.to_str()
    if '"BertNormalizer"' in built:
        return built
    path = cached_file(source, "tokenizer.json", local_files_only=local, _raise_exceptions_for_missing_entries=False)
    return built if path is None else str(Tokenizer.from_file(str(path)).to_str())


def _check_weights(report: Mapping[str, Any], source: str) -> None:
    """Check that every weight that an encoder uses was in the file.

    transformers gives random values to those that were not, and only logs it. Frames do not depend on the pooler.
    """
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name.split("."))
    mismatched = sorted(str(item[0]) for item in report["mismatched_keys"])
    for problem, names in (("has no weights for", missing), ("has weights of another shape for", mismatched)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UsageError(f"{source} {problem} {names[0]}{more}. Pass a complete checkpoint of an encoder.")
