# One command each for what a change must pass; `make check` runs them all.
.PHONY: format types test quick check

format:
	ruff check --fix .
	ruff format .

# The folders are installed under other names, so mypy reads a tree of links outside of the project.
types:
	@site=$$(mktemp -d) && trap 'rm -rf $$site' EXIT && mkdir $$site/elegans \
	&& ln -s $(CURDIR)/elegans/* $(CURDIR)/wiring $(CURDIR)/solvers $(CURDIR)/proofs $$site/elegans \
	&& cd $$site && python -m mypy --config-file $(CURDIR)/pyproject.toml \
		--cache-dir $(CURDIR)/.mypy_cache -p elegans

test:
	python -m pytest

quick:
	python -m pytest -m "not slow"

check: format types test
