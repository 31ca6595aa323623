"""Labels in a tree on cards, and in files that nobody vouches for."""

from __future__ import annotations

import pytest

from adapterhub.errors import HeadFileError
from adapterhub.publishing.task_section import task_section
from adapterhub.store.headfile import parse_head
from tests.builders import PARENTS, task_spec
from tests.publishing.tasks import REPO
from tests.store.raw import good_file, with_spec


def test_the_card_has_the_label_above_each() -> None:
    section = task_section(REPO, "queue", task_spec("label_tree", task="queue"), ())
    assert "| 3 | transfer.late | transfer |" in section
    assert "| 4 | other |  |" in section


@pytest.mark.parametrize(
    ("parents", "problem"),
    [
        ({**PARENTS, "card": "card.lost"}, r"cycle: card\.lost → card → card\.lost"),
        ({**PARENTS, "cart": "shop"}, "'cart' has a parent, but is no label"),
        ({}, "belong to label_tree tasks only"),
    ],
)
def test_the_tree_of_an_untrusted_file_is_checked(parents: dict[str, str], problem: str) -> None:
    file = good_file(task_spec("label_tree"))
    assert parse_head(file, source="f").spec.parents == PARENTS
    with pytest.raises(HeadFileError, match=problem):
        parse_head(with_spec(file, parents=parents), source="f")
