"""Words from sound."""

from edge_msa_runtime.speech.recognizer import Listener, Recognizer, open_recognizer

__all__ = ["Listener", "Recognizer", "open_recognizer"]
