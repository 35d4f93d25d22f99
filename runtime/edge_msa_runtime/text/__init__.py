"""From raw text to frames of the language modality."""
