"""Training: batches, stochastic missing, the epoch loop, HRLF's two stages, distillation, prediction."""
