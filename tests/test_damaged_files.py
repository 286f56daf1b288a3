"""Whatever is in a file, it is read, or an error of the library says what is wrong with it."""

import pytest
from damaged_files import READERS, attempt, damaged, whole

CASES, MANY = 5, 150


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read(name, tmp_path):
    assert attempt(name, whole(name)[READERS[name].file], tmp_path) is None


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name, tmp_path):
    for seed in range(CASES):
        attempt(name, damaged(name, seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files_are_read_or_refused(name, tmp_path):
    refused = [attempt(name, damaged(name, seed), tmp_path) is not None for seed in range(MANY)]
    assert any(refused)


@pytest.mark.parametrize("name", READERS)
def test_an_empty_file_is_refused_or_has_no_lines(name, tmp_path):
    assert attempt(name, b"", tmp_path) is not None or READERS[name].file.endswith(".jsonl")
