"""Run folders: typed specs, cache keys, atomic writes, one process per folder."""
