"""Architecture search: the search space, a study shared by several workers, trials, the Pareto front and its page."""
