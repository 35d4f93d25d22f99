"""Training: batches, missing modalities, the epoch loop, teachers, distillation, text models and prediction."""
