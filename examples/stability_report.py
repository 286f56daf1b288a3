"""What is certain about a trained circuit: rewire it under a guard, then write its report.

A circuit of 16 neurons learns the running mean of two inputs. Prune-and-rewire moves its weak
synapses, and a guard refuses every edit after which the circuit could not be certified. The report
then says what is proved, what was sampled and what was measured. Writes stability_report.html, the
same as stability_report.json, and pictures to the folder given by --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import elegans
from elegans.proofs import CertificateGuard, ContractionPenalty
from elegans.reporting.stability import report
from elegans.wiring import AutoNCP

STEPS = 60


def make_batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (32, 20, 2) between -1 and 1, and the running mean of both, (32, 20, 1)."""
    x = 2 * torch.rand(32, 20, 2, generator=generator) - 1
    steps = torch.arange(1, 21).unsqueeze(-1)
    return x, (x.cumsum(1) / steps).mean(-1, keepdim=True)


def main(out: Path) -> None:
    model = elegans.LTC(
        2,
        AutoNCP(units=16, output_size=1, seed=3),
        generator=torch.Generator().manual_seed(3),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewirer = elegans.PruneRewire(model, optimizer, threshold=0.12, weight=0.2, every=10, seed=3)
    rewirer.add_guard(CertificateGuard(model, inputs=(-1, 1)))
    penalty = ContractionPenalty(model, inputs=(-1, 1))

    generator = torch.Generator().manual_seed(4)
    for _ in range(STEPS):
        x, y = make_batch(generator)
        optimizer.zero_grad()
        error = (model(x)[0] - y).square().mean()
        (error + penalty()).backward()
        optimizer.step()
        rewirer.step()

    made = report(
        model,
        make_batch(generator)[0],
        inputs=(-1, 1),
        ledger=rewirer.ledger,
        title="The running mean, learned under a guard",
    )
    print(made.summary)
    for verdict in made.verdicts:
        print(f"  {verdict.question:<44} {verdict.headline} ({verdict.evidence})")
    made.save(out / "stability_report.html")
    made.save_json(out / "stability_report.json")
    pictures = made.save_figures(out / "stability_report_figures")
    print(f"wrote {out / 'stability_report.html'} and {len(pictures)} pictures")

    proof, ceiling = made.content.contraction, made.content.ceiling
    assert proof is not None
    assert ceiling is not None
    assert proof.certified
    assert proof.best_rate <= ceiling.rate  # no norm proves more than a state of the box allows
    assert made.content.history.least_slack >= 0  # no edit took the certificate away
    assert error.item() < 0.05  # the running mean itself has the variance 0.06


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    main(parser.parse_args().out)
