"""Keys, paths and leaves of the taxonomies."""

from __future__ import annotations

import re

from theodolite.catalogue.trees import ORDER, node, tags, taxonomies


def test_keys_are_the_trees_name_and_a_plain_word() -> None:
    assert tuple(t.key for t in taxonomies()) == ORDER
    for tree in taxonomies():
        for n in tree.walk():
            assert re.fullmatch(rf"{tree.key}:[a-z0-9-]+", n.key), n.key
    assert len(tags()) == sum(1 for t in taxonomies() for _ in t.walk())


def test_every_tree_says_where_it_is_from_and_what_was_read() -> None:
    for tree in taxonomies():
        assert "arXiv:" in tree.source
        assert tree.entered


def test_a_node_knows_its_way_and_its_parts() -> None:
    safety = node("trust:safety")
    assert [n.key for n in safety.leaves()] == [
        "trust:violence",
        "trust:unlawful-conduct",
        "trust:harms-to-minors",
        "trust:adult-content",
        "trust:mental-health-issues",
        "trust:privacy-violation",
    ]
    assert node("goal:hhh").path == ("Human values", "Value principles", "Helpful, honest, harmless")
    assert [n.key for n in node("goal:human-instructions").leaves()] == ["goal:human-instructions"]


def test_every_leaf_says_what_it_is_or_has_a_number() -> None:
    for tree in taxonomies():
        assert [n.key for n in tree.leaves() if not (n.says or n.code)] == []


def test_aegis_numbers_leave_room_for_the_two_labels() -> None:
    aegis = taxonomies()[ORDER.index("aegis")]
    assert {n.code for n in aegis.leaves()} | {"S13", "S14"} == {f"S{i}" for i in range(1, 24)}
    assert set(aegis.labels) == {"safe", "needs-caution", "other"}
