"""`elegans evaluate`: scores of a trained circuit on another file."""

from __future__ import annotations

from elegans.cli.commands import Evaluate
from elegans.cli.printing import print_table
from elegans.cli.scoring import score_rows
from elegans.cli.table import files_in, label_of
from elegans.training import RunData


def run(command: Evaluate) -> None:
    """Print the scores of each target, in the user's units."""
    data = RunData.read(command.run, list(files_in(command.data)), needs_targets=True)
    sequences = data.table.sequences
    answers = data.answers()
    steps = sum(map(len, sequences))
    print(f"{label_of(command.data)}: {len(sequences)} sequences, {steps:,} steps")
    print_table(score_rows(data.reading, data.scales, answers, sequences))
