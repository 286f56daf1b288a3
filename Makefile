# One command each for what a change must pass; `make check` runs them all.
.PHONY: format types test quick docs check

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

# The site, in docs/_build/html; warnings are errors. Pictures are drawn anew when code has changed.
docs:
	python -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html

check: format types docs test
