"""The test of the tests: our own code, broken, is found out. All of them: ``make mutants``."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS, ROOT, is_found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_fits_the_source(mutant: tuple[str, str, str, str]) -> None:
    _, module, old, new = mutant
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert source.count(old) == 1
    assert compile(source.replace(old, new), module, "exec")


def test_none_is_there_twice() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len({mutant[1:] for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["reuse an attempt", "lose a dependent", "forget a release", "retry for ever"])
def test_some_that_are_found_soon(name: str) -> None:
    index = [mutant.name for mutant in MUTANTS].index(name)
    assert is_found(index, 100)
