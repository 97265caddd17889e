"""Bad input is refused with one line that says what came."""

from collections.abc import Callable, Mapping

import pytest


def refusals(bad: Mapping[str, Callable]) -> Callable:
    """A test for every call that must raise a ValueError of one line with these words in it."""

    @pytest.mark.parametrize("said", bad)
    @pytest.mark.usefixtures("unchecked")
    def test(said: str) -> None:
        with pytest.raises(ValueError) as error:  # noqa: PT011
            bad[said]()
        assert said in str(error.value)
        assert "\n" not in str(error.value)

    return test
