from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sae.feature import Exemplar, Feature


@settings(deadline=None)
@given(st.text(min_size=1), st.integers(0, 10**9))
def test_a_feature_reads_back_what_it_writes(dictionary: str, index: int) -> None:
    feature = Feature(dictionary=dictionary, index=index)
    assert Feature.parse(str(feature)) == feature


@pytest.mark.parametrize("text", ["", "sandbox", "sandbox#", "#3", "sandbox#-1", "sandbox#1.5", "sandbox#²"])
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form DICTIONARY#INDEX, e\.g\. sandbox#17\.$"):
        Feature.parse(text)


def test_records_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        Feature(dictionary="a", index=1).index = 2
    with pytest.raises(ValidationError):
        Exemplar(image="0", activation=1.0, note="x")  # type: ignore[call-arg]
