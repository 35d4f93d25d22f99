"""Networks: the teachers and the edge student."""
