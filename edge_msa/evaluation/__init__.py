"""Predictors, metrics, baselines, intervals and paper reproductions."""
