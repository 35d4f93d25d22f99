"""Training text models: a tokenizer and a text encoder, and a student behind them."""
