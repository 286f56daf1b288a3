"""``python -m elegans.proofs.claims [name ...]`` prints claims, verdicts and their numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from elegans.proofs.claims import CLAIMS, report


def main(names: Sequence[str]) -> int:
    """Print the claims of these names, or all; return 1 if numbers do not confirm a verdict."""
    claims = {claim.name: claim for claim in CLAIMS}
    unknown = [name for name in names if name not in claims]
    if unknown:
        print(f"got {unknown[0]!r}, expected claims out of {', '.join(claims)}", file=sys.stderr)
        return 2
    reports = [report(claims[name]) for name in names or claims]
    print("\n\n".join(reports))
    return int(any("DO NOT CONFIRM" in text for text in reports))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
