"""`elegans evaluate`: error of a trained circuit on another file."""

from __future__ import annotations

from elegans.cli.commands import Evaluate
from elegans.cli.printing import error_text, print_table
from elegans.data import read_table
from elegans.errors import RunError
from elegans.training import RunFolder, load_model, squared_errors


def run(command: Evaluate) -> None:
    """Print the mean squared error of each target, in the user's units."""
    folder = RunFolder.open(command.run)
    data = folder.config.get("data")
    if not isinstance(data, dict):
        raise RunError(
            f"{command.run}: got a run that was not trained on columns of a file, expected one of "
            "'elegans train'; pass its folder"
        )
    scales = folder.scales
    model = load_model(command.run)
    table = read_table(
        command.data, data["inputs"], data["targets"], time=data["time"], sequence=data["sequence"]
    )
    errors = squared_errors(model, table.sequences, scales)
    steps = sum(len(sequence) for sequence in table)
    print(f"{command.data}: {len(table)} sequences, {steps:,} steps")
    targets = zip(table.target_names, errors, scales.targets.unit, strict=True)
    print_table({name: error_text(error, unit) for name, error, unit in targets})
