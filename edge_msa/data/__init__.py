"""Load feature files of several formats as one dataset type."""

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import Task

__all__ = ["Dataset", "Frames", "Split", "Task", "open_dataset"]
