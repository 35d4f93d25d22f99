"""INT8: statistics, ranges, placement, Q/DQ graphs, and the accuracy gate."""
