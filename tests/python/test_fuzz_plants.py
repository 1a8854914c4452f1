"""The faults that `python -m tests.fuzz.plant` plants still have a place to be planted in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.plants import PLANTS, Plant

ROOT = Path(__file__).resolve().parents[2]


def test_faults_have_different_names() -> None:
    assert len({plant.name for plant in PLANTS}) == len(PLANTS) >= 10


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_fault_has_one_place(plant: Plant) -> None:
    text = (ROOT / plant.file).read_text()
    assert text.count(plant.old) == 1, f"{plant.file} has changed: see tests/fuzz/plants.py"
    assert plant.old != plant.new
