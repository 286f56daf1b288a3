"""The examples of every module of `elegans.solvers` run and show what they say."""

import doctest
import importlib
import pkgutil

import pytest

import elegans.solvers

MODULES = [module.name for module in pkgutil.iter_modules(elegans.solvers.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"elegans.solvers.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted > 0 or name == "base"


@pytest.mark.parametrize("name", elegans.solvers.__all__)
def test_everything_public_is_documented(name):
    assert len(getattr(elegans.solvers, name).__doc__) > 40
