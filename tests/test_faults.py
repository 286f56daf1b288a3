"""The campaigns of benchmarks/faults, shortened: whatever breaks a training or a controller."""

import re
from pathlib import Path

import campaign
import control_steps
import disks
import file_operations
import fuzz
import kills
import pytest
import rewires
import signals

SHORT = {
    "kills": (kills, 2),
    "file operations": (file_operations, 3),
    "signals": (signals, 3),
    "control steps": (control_steps, 100_000),
    "rewires": (rewires, 2_000),
    "damaged inputs": (fuzz, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_short_campaign(name, tmp_path):
    module, count = SHORT[name]
    assert module.campaign(count, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not disks.may_mount(), reason="only root may mount disks")
def test_disks_that_are_too_small(tmp_path):
    seen = disks.campaign(2, 1, tmp_path)
    assert seen["full disks told in one line"] == 2


def test_the_page_shows_what_the_campaigns_saw():
    page = campaign.PAGE.read_text()
    assert page == campaign.with_table(page)
    assert campaign.results()
    assert set(campaign.results()) <= {*SHORT, "full disks"}


def test_the_page_names_tests_that_are_there():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", campaign.PAGE.read_text())
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (Path(__file__).parent / file).read_text(), name


def test_a_broken_promise_stops_a_campaign():
    campaign.require(True, "fine")
    with pytest.raises(campaign.BrokenPromiseError, match="it is lost"):
        campaign.require(False, "it is lost")
