"""INT8 quantization: activation statistics, ranges, quantization plans, Q/DQ graphs and the accuracy gate."""
