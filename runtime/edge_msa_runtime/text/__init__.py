"""Convert text to frames of the language modality."""
