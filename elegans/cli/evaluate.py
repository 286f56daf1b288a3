"""`elegans evaluate`: error of a trained circuit on another file."""

from __future__ import annotations

from elegans.cli.commands import Evaluate
from elegans.cli.printing import error_text, print_table
from elegans.cli.run_data import RunData
from elegans.training import load_model, squared_errors


def run(command: Evaluate) -> None:
    """Print the mean squared error of each target, in the user's units."""
    data = RunData.read(command.run, command.data, needs_targets=True)
    errors = squared_errors(load_model(command.run), data.table.sequences, data.scales)
    steps = sum(len(sequence) for sequence in data.table)
    print(f"{command.data}: {len(data.table)} sequences, {steps:,} steps")
    targets = zip(data.target_names, errors, data.scales.targets.unit, strict=True)
    print_table({name: error_text(error, unit) for name, error, unit in targets})
