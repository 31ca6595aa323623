"""The plan: what is shared, what it costs, and how it reads."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.plan import Plan, Reading, Tap, make_plan, plan_dot, reading_of
from adapterhub.specs import AdapterSpec, TaskSpec
from tests.builders import backbone_spec, task_spec


def plan_of(**tasks: dict[str, Any]) -> Plan:
    return make_plan({name: task_spec(**changes) for name, changes in tasks.items()})


def test_one_task_costs_the_depth_that_it_reads() -> None:
    plan = plan_of(a={"depths": (3,)})
    (trunk,) = plan.trunks
    assert trunk.stop == plan.passes == 3
    assert plan.separate_passes == 4
    assert trunk.taps == (Tap(3, "mean", ("a",)),)
    assert trunk.reading == Reading(("text",), 64, 0)


def test_tasks_that_read_the_same_share_one_trunk() -> None:
    plan = plan_of(a={"depths": (2,)}, b={"depths": (4,)}, c={"kind": "tagging", "depths": (3,)})
    (trunk,) = plan.trunks
    assert trunk.tasks == ("a", "b", "c")
    assert plan.passes == 4
    assert plan.separate_passes == 12
    assert plan.ratio == 3.0


def test_heads_on_one_tap_share_it() -> None:
    plan = plan_of(
        b={"pooling": "cls"}, a={"pooling": "cls"}, c={"pooling": "max"}, d={"depths": (1,)}
    )
    (trunk,) = plan.trunks
    assert trunk.taps == (
        Tap(1, "mean", ("d",)),
        Tap(4, "cls", ("b", "a")),
        Tap(4, "max", ("c",)),
    )


@pytest.mark.parametrize(
    "change",
    [{"max_length": 32}, {"overlap": 4}, {"fields": ("title",)}, {"fields": ("text", "other")}],
)
def test_another_window_or_field_takes_a_trunk_of_its_own(change: dict[str, Any]) -> None:
    plan = plan_of(a={"depths": (3,)}, b={"depths": (2,), **change}, c={"depths": (1,)})
    assert [trunk.tasks for trunk in plan.trunks] == [("a", "c"), ("b",)]
    assert [trunk.stop for trunk in plan.trunks] == [3, 2]
    assert plan.passes == 5


def test_pairs_that_are_read_apart_take_a_trunk_of_their_own() -> None:
    pair = ("text", "text_pair")
    plan = plan_of(
        a={"fields": pair, "depths": (3,)},
        b={"fields": pair, "depths": (2,), "apart": True},
        c={"fields": pair, "depths": (1, 2), "apart": True},
    )
    together, apart = plan.trunks
    assert (together.tasks, apart.tasks) == (("a",), ("b", "c"))
    assert apart.reading == Reading(pair, 64, 0, apart=True)
    assert apart.reading.alone == Reading(("text",), 64, 0)
    assert apart.taps == (Tap(1, "mean", ("c",)), Tap(2, "mean", ("b", "c")))
    assert plan.passes == 3 + 2
    # b has 2 outputs on 4 x 16 numbers, c also two weights of its mix.
    assert plan.parameters == 2 * 16 + 2 + 2 * (2 * 64 + 2) + 2
    assert "text | text_pair, each alone  0 -> 2  trunk  depth 1 mean  c" in str(plan)
    assert 't1_0 [label="text | text_pair, each alone: depth 0"];' in plan_dot(plan)


def test_a_mix_reads_every_depth_of_it() -> None:
    plan = plan_of(a={"depths": (0, 2, 3)}, b={"depths": (2,)})
    (trunk,) = plan.trunks
    assert trunk.taps == (
        Tap(0, "mean", ("a",)),
        Tap(2, "mean", ("a", "b")),
        Tap(3, "mean", ("a",)),
    )
    assert trunk.tasks == ("a", "b")


def test_tasks_keep_the_order_of_the_call() -> None:
    names = ("zebra", "apple", "mango")
    plan = make_plan({name: task_spec() for name in names})
    assert plan.trunks[0].tasks == plan.trunks[0].taps[0].tasks == names


def test_the_embeddings_alone_cost_no_pass() -> None:
    plan = plan_of(a={"depths": (0,)})
    assert plan.passes == 0
    assert plan.ratio == 4.0


def test_no_tasks_and_two_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match="one backbone"):
        make_plan({})
    other = task_spec(backbone=backbone_spec(num_hidden_layers=6))
    with pytest.raises(ValueError, match=r"one backbone, found depths \[4, 6\]"):
        make_plan({"a": task_spec(), "b": other})


def test_a_plan_is_read_as_a_table() -> None:
    plan = plan_of(
        sentiment={"depths": (4,)},
        topics={"depths": (2,), "pooling": "cls"},
        entails={"depths": (3,), "fields": ("text", "text_pair")},
    )
    assert str(plan).splitlines() == [
        "input             passes  what   tap           tasks",
        "----------------  ------  -----  ------------  ---------",
        "text              0 -> 4  trunk  depth 2 cls   topics",
        "                                 depth 4 mean  sentiment",
        "text + text_pair  0 -> 3  trunk  depth 3 mean  entails",
        "3 tasks: 4 + 3 = 7 passes per text, 0.00 MB resident; "
        "separate models: 3 x 4 = 12 (1.7 x as many)",
    ]
    assert repr(plan) == str(plan)


def test_a_plan_is_a_pure_value() -> None:
    tasks = {"a": task_spec(depths=(2,)), "b": task_spec("tagging")}
    first, second = make_plan(tasks), make_plan(dict(tasks))
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.trunks = ()  # type: ignore[misc]


def test_planning_does_not_import_torch() -> None:
    code = "import sys, adapterhub.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


POOLING = st.sampled_from(["cls", "mean", "max", "attentive"])
FIELDS = st.sampled_from([("text",), ("title",), ("text", "title")])
SPEC = st.builds(
    lambda depths, pooling, fields, length, width: task_spec(
        depths=tuple(sorted(depths)),
        pooling=pooling,
        fields=fields,
        max_length=length,
        hidden_width=width,
    ),
    st.sets(st.integers(0, 4), min_size=1),
    POOLING,
    FIELDS,
    st.sampled_from([32, 64]),
    st.sampled_from([None, 8]),
)
SPECS = st.dictionaries(st.sampled_from("abcdefgh"), SPEC, min_size=1)


@settings(deadline=None)
@given(SPECS)
@pytest.mark.slow
def test_a_plan_never_costs_more_than_each_task_alone(tasks: dict[str, TaskSpec]) -> None:
    plan = make_plan(tasks)
    alone = sum(make_plan({name: spec}).passes for name, spec in tasks.items())
    assert plan.passes <= alone <= plan.separate_passes
    assert plan.tasks == len(tasks)


@settings(deadline=None)
@given(SPECS)
@pytest.mark.slow
def test_a_plan_serves_every_task_once_and_stops_where_the_last_one_reads(
    tasks: dict[str, TaskSpec],
) -> None:
    plan = make_plan(tasks)
    assert sorted(name for trunk in plan.trunks for name in trunk.tasks) == sorted(tasks)
    assert len({trunk.reading for trunk in plan.trunks}) == len(plan.trunks)
    for trunk in plan.trunks:
        assert trunk.stop == max(tasks[name].deepest for name in trunk.tasks)
        for name in trunk.tasks:
            spec = tasks[name]
            read = [(tap.depth, tap.pooling) for tap in trunk.taps if name in tap.tasks]
            assert read == [(depth, spec.head.pooling) for depth in spec.head.depths]
            assert reading_of(spec) == trunk.reading


def _adapter(digest: str, *depths: int, **changes: Any) -> AdapterSpec:
    return AdapterSpec(
        method="lora",
        depths=depths,
        sites=("query",),
        config={"r": 8},
        parameters=1_000,
        digest=digest * 64,
        **changes,
    )


def test_adapters_fork_from_one_trunk() -> None:
    plan = plan_of(
        late={"depths": (4,), "adapter": _adapter("a", 3)},
        head={"depths": (1,)},
        early={"depths": (3,), "adapter": _adapter("b", 2, 3)},
    )
    (trunk,) = plan.trunks
    assert trunk.stop == 3
    assert [(branch.fork, branch.stop) for branch in trunk.branches] == [(2, 3), (3, 4)]
    assert plan.passes == 3 + 1 + 1
    assert plan.separate_passes == 12


def test_tasks_with_one_adapter_share_its_branch() -> None:
    plan = plan_of(
        a={"depths": (4,), "adapter": _adapter("a", 2, 3)},
        b={"depths": (3,), "pooling": "cls", "adapter": _adapter("a", 2, 3)},
    )
    (branch,) = plan.trunks[0].branches
    assert branch.tasks == ("a", "b")
    assert branch.taps == (Tap(3, "cls", ("b",)), Tap(4, "mean", ("a",)))
    assert plan.passes == 4
    heads = 2 * (2 * 16 + 2)
    assert plan.parameters == heads + 1_000


def test_a_mix_reads_the_trunk_below_its_fork() -> None:
    plan = plan_of(a={"depths": (1, 2, 4), "adapter": _adapter("a", 2, 3)})
    (trunk,) = plan.trunks
    assert [tap.depth for tap in trunk.taps] == [1, 2]
    assert [tap.depth for tap in trunk.branches[0].taps] == [4]


def test_branches_are_lines_of_the_table_and_of_the_drawing() -> None:
    plan = plan_of(
        head={"depths": (2,)}, tuned={"depths": (4,), "adapter": _adapter("a", 3, tie_depths=True)}
    )
    assert str(plan).splitlines()[2:] == [
        "text   0 -> 3  trunk         depth 2 mean  head",
        "       3 -> 4  lora r8 tied  depth 4 mean  tuned",
        "2 tasks: 3 + 1 = 4 passes per text, 0.00 MB resident; "
        "separate models: 2 x 4 = 8 (2.0 x as many)",
    ]
    drawing = plan_dot(plan)
    assert drawing.startswith("digraph plan {")
    assert 't0_3 -> t0b0_4 [label="lora r8 tied, 1 pass", style=bold];' in drawing
    assert 't0_2_mean [shape=plain, label="head"];' in drawing


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"depths": (4,), "adapter": _adapter("a", 4)}, "changes depth 4; this backbone has"),
        ({"depths": (2,), "adapter": _adapter("a", 2)}, "it would change nothing"),
    ],
)
def test_an_adapter_where_nothing_is_read_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        task_spec(**changes)
