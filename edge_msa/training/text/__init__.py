"""Training text models: a text encoder with its tokenizer, and a student on top."""
