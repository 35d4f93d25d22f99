"""INT8: statistics, ranges, plan, Q/DQ graphs, and the accuracy gate."""
