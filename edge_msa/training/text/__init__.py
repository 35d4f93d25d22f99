"""Training of text models, which are a tokenizer, a text encoder and a student."""
