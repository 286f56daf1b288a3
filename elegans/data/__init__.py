"""Training data: from a user's file to windows a sequence model can learn from.

`read_table` reads CSV and npz files into sequences with elapsed times, `split_sequences` keeps
validation and test apart, `Standardiser` scales columns, `cut_windows` stacks arrays to train on.
"""

from elegans.data.sequences import Sequence, SequenceTable
from elegans.data.splits import FRACTIONS, Split, split_sequences
from elegans.data.standardise import Standardiser, standardise_sequences
from elegans.data.tables import SUFFIXES, column_names, read_table
from elegans.data.windows import Windows, batches, cut_windows

__all__ = [
    "FRACTIONS",
    "SUFFIXES",
    "Sequence",
    "SequenceTable",
    "Split",
    "Standardiser",
    "Windows",
    "batches",
    "column_names",
    "cut_windows",
    "read_table",
    "split_sequences",
    "standardise_sequences",
]
