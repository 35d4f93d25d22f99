"""From features to a model that a device runs: data, teachers, students, reports, and the command line."""
