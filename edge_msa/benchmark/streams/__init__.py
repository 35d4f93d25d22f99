"""The benchmark for streams that lose data: the regret of predictions at every moment, against the exact optimum."""
