"""The synthetic default dataset, whose Bayes optimum is known exactly."""
