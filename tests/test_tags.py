"""Tags: what schemes there are, and which tags cannot tell entities."""

from __future__ import annotations

import pytest

from adapterhub.tags import check_tags, entity_types, have_ends, mark_of, tags_of


def test_entity_types_come_in_order_of_first_appearance() -> None:
    assert entity_types(("O", "B-PER", "B-ORG", "I-PER", "I-ORG")) == ("PER", "ORG")
    assert entity_types(("O",)) == ()


def test_both_schemes_can_be_made_told_apart_and_used() -> None:
    plain, ended = (tags_of(["x", "y-z"], ends=ends) for ends in (False, True))
    assert plain == ("O", "B-x", "I-x", "B-y-z", "I-y-z")
    assert ended == ("O", "B-x", "I-x", "E-x", "S-x", "B-y-z", "I-y-z", "E-y-z", "S-y-z")
    assert (have_ends(plain), have_ends(ended)) == (False, True)
    assert [mark_of(tag) for tag in ended[:6]] == ["O", "B", "I", "E", "S", "B"]
    check_tags(plain)
    check_tags(ended)
    check_tags(("O", "B-x"))


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (("B-x", "I-x"), "needs the tag 'O'"),
        (("O", "X-x"), "tag 'X-x' is neither 'O' nor"),
        (("O", "B-"), "tag 'B-' is neither 'O' nor"),
        (("O", "I-x"), "tag 'I-x' has no 'B-x' beside it"),
        (("O", "B-x", "I-x", "E-x"), "tag 'B-x' has no 'S-x' beside it"),
        (("O", "S-x"), "tag 'S-x' has no 'B-x' beside it"),
        ((*tags_of("y", ends=True), "B-x", "I-x"), "tag 'B-x' has no 'E-x' beside it"),
    ],
)
def test_tags_that_cannot_tell_entities_are_refused(tags: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_tags(tags)
