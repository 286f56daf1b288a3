"""Rates of forgetting side by side: what was proved, what can be proved at most, what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from elegans.reporting.chart import PROVED, SEEN, UNKNOWN, WEAK
from elegans.reporting.stability.content import MEASURED, SAMPLED, SEARCHED, Content


@dataclass(frozen=True)
class Rate:
    """A rate per unit of time; larger forgets faster."""

    label: str
    value: float
    error: float
    evidence: str
    color: str
    meaning: str


def rates_of(content: Content) -> list[Rate]:
    """Return the rates that are known, proofs first."""
    found: list[Rate] = []
    proof, ceiling, spectra = content.contraction, content.ceiling, content.spectra
    if proof is not None and proof.rate is not None:
        color = PROVED if proof.certified else WEAK
        if proof.certified:
            found.append(
                Rate(
                    "certified λ", proof.rate, 0.0, proof.evidence, color, "the certificate's rate"
                )
            )
            if proof.best_rate is not None:
                found.append(
                    Rate(
                        "best proved",
                        proof.best_rate,
                        0.0,
                        proof.evidence,
                        color,
                        "the same proof with weights of larger spread",
                    )
                )
        else:
            found.append(
                Rate(
                    "method's best",
                    proof.rate,
                    0.0,
                    proof.evidence,
                    color,
                    "must be above 0 for a certificate",
                )
            )
    if proof is not None and proof.method_ceiling is not None:
        found.append(
            Rate(
                "method's ceiling",
                proof.method_ceiling,
                0.0,
                "computed (double precision)",
                UNKNOWN,
                "no weights of the maximum norm prove more on this box",
            )
        )
    if ceiling is not None:
        found.append(
            Rate(
                "any norm's ceiling",
                ceiling.rate,
                0.0,
                SAMPLED,
                UNKNOWN,
                "no norm whatever proves more on this box: −max α(J) over sampled states",
            )
        )
    if content.equilibria is not None and content.equilibria.shown:
        rest = content.equilibria.shown[0]
        found.append(
            Rate(
                "at an equilibrium",
                -rest.rate,
                0.0,
                SEARCHED,
                SEEN,
                "slowest mode of the linearised flow under the mean input",
            )
        )
    if spectra is not None:
        found.append(
            Rate(
                "slowest moment",
                -float(spectra.abscissa.max()),
                0.0,
                MEASURED,
                SEEN,
                "slowest mode of the Jacobian at any moment of the sequence shown",
            )
        )
    if content.exponents is not None:
        length = content.subject.elapsed
        found.append(
            Rate(
                "over the run, −λ₁",
                -float(content.exponents.values[0]) / length,
                float(content.exponents.errors[0]) / length,
                MEASURED,
                SEEN,
                "largest Lyapunov exponent of the steps that ran, by the length of a step",
            )
        )
    return found
