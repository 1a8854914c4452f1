"""What PyTorch's operation database says passes (tests/opdb/passing.txt) still does."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which the database imports

from tests.opdb import worker
from tests.opdb.run import read_passing

SAMPLES = 2  # of an operation and dtype


@pytest.fixture(scope="module")
def results():
    recorded = read_passing()
    return recorded, dict(worker.run(list(recorded), worker.COLUMNS, SAMPLES, jobs=2, timeout=60))


@pytest.mark.parametrize("column", worker.COLUMNS)
def test_what_passed_passes(results, column):
    recorded, found = results
    wrong = {
        name: found[name].get(column)
        for name, columns in recorded.items()
        if column in columns and found[name].get(column) not in ("pass", "none")
    }
    assert not wrong
