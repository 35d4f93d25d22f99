"""Networks: the teachers HRLF and ALMT, the edge student, and text encoders."""
