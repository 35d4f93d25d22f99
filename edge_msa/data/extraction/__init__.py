"""From a folder of audio and video files, and a table of labels, to a dataset.

1. `table` reads the table of labels, and `transcripts` the words: the segments of which the dataset consists.
2. `segment_job` decodes one segment and computes its frames, here or in another process.
3. `scheduling` runs many of them, on one or more processes or on a dask cluster.
4. `segment_dataset` puts the results together, in the order of the table.

`edge_msa.artifacts.segment_store` keeps the results until all are there, so that an interrupted command resumes.
"""
