"""Every form of file that dictionaries are published in: writers of small ones, with each library's formula.

``CASES`` is what tests run over: a case writes one into an empty folder, by a seed, and gives the path to
load and the reconstruction that the library itself would make, written anew from its description.
"""

from __future__ import annotations

from tests import (
    format_files_learning,
    format_files_overcomplete,
    format_files_quadruple,
    format_files_saelens,
    format_files_seeds,
    format_files_single,
    format_files_sparsify,
)
from tests.format_writing import Case, Draw, Formula, Written

__all__ = ["CASES", "Case", "Draw", "Formula", "Written", "case"]

CASES: tuple[Case, ...] = (
    *format_files_seeds.CASES,
    *format_files_learning.CASES,
    *format_files_overcomplete.CASES,
    *format_files_saelens.CASES,
    *format_files_sparsify.CASES,
    *format_files_quadruple.CASES,
    *format_files_single.CASES,
)


def case(name: str) -> Case:
    """The case of that name."""
    return next(each for each in CASES if each.name == name)
