"""From a run to what the export package needs."""
