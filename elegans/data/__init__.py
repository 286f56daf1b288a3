"""Training data: from a user's file to windows a sequence model can learn from.

`read_table` reads files, folders and DataFrames into sequences with elapsed times,
`split_sequences` keeps validation and test apart, `Scales` takes them to a circuit's units,
`cut_windows` stacks arrays to train on.
"""

from elegans.data.reading import Reading
from elegans.data.scale import Scale, Scales
from elegans.data.sequences import Sequence, SequenceTable, averaged_targets
from elegans.data.splits import FRACTIONS, Split, part_sizes, split_sequences, spread_order
from elegans.data.tables import SUFFIXES, column_names, read_table
from elegans.data.text_file import Dialect
from elegans.data.windows import Windows, batches, cut_windows

__all__ = [
    "FRACTIONS",
    "SUFFIXES",
    "Dialect",
    "Reading",
    "Scale",
    "Scales",
    "Sequence",
    "SequenceTable",
    "Split",
    "Windows",
    "averaged_targets",
    "batches",
    "column_names",
    "cut_windows",
    "part_sizes",
    "read_table",
    "split_sequences",
    "spread_order",
]
