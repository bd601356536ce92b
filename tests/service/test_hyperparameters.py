"""The table of hyperparameters: every range on both sides, every spelling, every refusal."""

import dataclasses
import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.service import schema
from rehearsal.trainer.hyperparameters import (
    EvaluationHyperparameters,
    Hyperparameter,
    HyperparameterError,
    TrainingHyperparameters,
)

Group = type[TrainingHyperparameters] | type[EvaluationHyperparameters]
TRAINING, EVALUATION = TrainingHyperparameters, EvaluationHyperparameters
ROWS = [(group, row) for group in (TRAINING, EVALUATION) for row in group.TABLE.values()]
RANGED = [(group, row) for group, row in ROWS if row.kind in ("integer", "number") and not row.choices]


def problems(group: Group, document: dict[str, Any]) -> list[str]:
    with pytest.raises(HyperparameterError) as caught:
        group.from_document(document)
    return [str(problem) for problem in caught.value.problems]


def edges(row: Hyperparameter) -> tuple[list[float], list[float]]:
    """Values just inside and just outside the range of a row."""
    step = 1 if row.kind == "integer" else 1e-9
    inside = [edge for edge in (row.low, row.high) if edge is not None]
    outside = [row.low - step] if row.low is not None else []
    outside += [row.high + step] if row.high is not None else []
    if row.above is not None:
        inside, outside = [*inside, row.above + step], [*outside, row.above]
    cast = int if row.kind == "integer" else float
    return [cast(value) for value in inside], [cast(value) for value in outside]


def label(item: Group | Hyperparameter) -> str:
    return item.name if isinstance(item, Hyperparameter) else item.__name__


def spelt(group: Group, value: float) -> Any:
    return repr(value) if group is EVALUATION else value


@pytest.mark.parametrize(("group", "row"), RANGED, ids=label)
def test_both_ends_of_every_range(group: Group, row: Hyperparameter) -> None:
    inside, outside = edges(row)
    for value in inside:
        extra = {"pass_k_values": "1"} if row.name == "eval_group_size" else {}
        read = group.from_document({row.name: spelt(group, value), **extra})
        assert getattr(read, row.name) == value
    for value in outside:
        (text,) = problems(group, {row.name: spelt(group, value)})
        assert text.startswith(f"{row.name}: ")
        assert text.endswith(f"allowed: {row.allowed}")


@pytest.mark.parametrize(("group", "row"), ROWS, ids=label)
def test_every_default_is_allowed_and_explained(group: Group, row: Hyperparameter) -> None:
    assert row.meaning
    assert row.read(row.default) == row.default
    assert getattr(group.from_document({}), row.name) == row.default == getattr(group(), row.name)


def test_the_documented_values_are_pinned() -> None:
    expected = {"global_batch_size": 128, "group_size": 8, "max_steps": 50, "learning_rate": 4e-5}
    read = dataclasses.asdict(TRAINING.from_document({}))
    assert expected.items() <= read.items()
    assert len(read) == 27
    assert list(EVALUATION.TABLE) == [
        "eval_group_size",
        "temperature",
        "sampling_top_p",
        "sampling_max_tokens",
        "pass_k_values",
        "success_threshold",
        "rollout_timeout",
        "rollout_max_concurrency",
        "rollout_max_retries",
    ]


@pytest.mark.parametrize("value", [32, 64.0, "128"])
def test_a_set_of_numbers_takes_numbers_and_strings(value: object) -> None:
    assert TRAINING.from_document({"global_batch_size": value}).global_batch_size == int(float(str(value)))


@pytest.mark.parametrize(
    "value", [33, "33", True, None, [], {}, "x", "nan", "1_0", " 32", "٣٢", 32.5, 10**400]
)
def test_a_set_of_numbers_refuses_everything_else(value: object) -> None:
    (text,) = problems(TRAINING, {"global_batch_size": value})
    assert text.endswith("is not allowed; allowed: 32, 64, 128")


def test_numbers_in_strings_are_read() -> None:
    read = TRAINING.from_document({"learning_rate": "1e-5", "max_steps": "12", "temperature": ".5"})
    assert (read.learning_rate, read.max_steps, read.temperature) == (1e-5, 12, 0.5)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ({}, (0.8, 1.2)),
        ({"loss_fn": "ppo"}, (0.8, 1.2)),
        ({"loss_fn": "cispo"}, (1.0, 6.0)),
        ({"loss_fn": "cispo", "clip_high_threshold": 4}, (1.0, 4.0)),
        ({"loss_fn": "cispo", "clip_low_threshold": 0.8, "clip_high_threshold": "1.2"}, (0.8, 1.2)),
    ],
)
def test_clip_bounds_follow_the_loss_where_they_are_left_out(
    given: dict[str, Any], bounds: tuple[float, float]
) -> None:
    read = TRAINING.from_document(given)
    assert (read.clip_low_threshold, read.clip_high_threshold) == bounds


def test_all_problems_are_reported_at_once_with_the_name_that_was_meant() -> None:
    found = problems(TRAINING, {"group_size": 64, "top_p": 1, "grop_size": 4, "loss_fn": "pppo", "zzz": 1})
    assert found[0] == "group_size: 64 is more than the maximum 32; allowed: a whole number from 2 to 32"
    assert found[1] == "top_p: is unknown; did you mean 'sampling_top_p'?"
    assert found[2] == "grop_size: is unknown; did you mean 'group_size'?"
    assert found[3].endswith("allowed: importance_sampling, ppo, cispo; did you mean 'ppo'?")
    assert "known: global_batch_size, group_size" in found[4]


def test_a_flood_of_problems_is_cut() -> None:
    assert len(problems(TRAINING, {f"unknown-{number}": 1 for number in range(10_000)})) == 51


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("top_p", "sampling_top_p"),
        ("max_tokens", "sampling_max_tokens"),
        ("sampling_temperature", "temperature"),
        ("group_size", "eval_group_size"),
    ],
)
def test_evaluation_refuses_the_names_that_the_service_refused(name: str, right: str) -> None:
    assert problems(EVALUATION, {name: "1"}) == [f"{name}: is unknown; did you mean {right!r}?"]


def test_evaluation_refuses_the_nested_form() -> None:
    (text,) = problems(EVALUATION, {"sampling_params": {"temperature": "1"}})
    assert "nested objects are refused: write flat names" in text


def test_evaluation_takes_only_strings() -> None:
    assert problems(EVALUATION, {"temperature": 1}) == [
        "temperature: 1 must be a string, such as '1.0'",
    ]


@pytest.mark.parametrize("value", [[4, 1, 2], "[1,2,4]", "1,2,4", "[1, 2, 4]", ["1", "2", "4"]])
@pytest.mark.parametrize("group", [TRAINING, EVALUATION])
def test_pass_k_values_in_every_spelling(group: Group, value: object) -> None:
    assert group.from_document({"pass_k_values": value}).pass_k_values == (1, 2, 4)


@pytest.mark.parametrize("value", [[], "", "[]", "1,,2", [1, 1], [0], "33", [1.5], "[1,2", {}, "one", [None]])
@pytest.mark.parametrize("group", [TRAINING, EVALUATION])
def test_pass_k_values_that_are_wrong(group: Group, value: object) -> None:
    (text,) = problems(group, {"pass_k_values": value})
    assert text.startswith("pass_k_values: ")


def test_pass_at_k_needs_k_rollouts() -> None:
    assert problems(EVALUATION, {"eval_group_size": "4", "pass_k_values": "1,8"}) == [
        "eval_group_size: 4 is less than 8, the largest of pass_k_values: pass@k needs k rollouts",
    ]
    assert EVALUATION.from_document({"eval_group_size": "8", "pass_k_values": "1,8"}).eval_group_size == 8
    assert EVALUATION.from_document({"eval_group_size": "5"}).pass_k_values == (1, 2, 4)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-200, 100_000)
    | st.floats(allow_nan=False)
    | st.sampled_from(["1", "8", "0.5", "1e-3", "ppo", "rloo", "[1,2]", "1,2", "4096", "64", "", "x"])
)


@given(data=st.data())
def test_what_the_table_takes_the_published_schema_takes(data: st.DataObject) -> None:
    group: Group = data.draw(st.sampled_from((TRAINING, EVALUATION)))
    category, section = {
        TRAINING: ("AgentRFT", "TrainingConfig"),
        EVALUATION: ("AgentRFTEvaluation", "EvaluationConfig"),
    }[group]
    value = data.draw(SCALARS | st.lists(st.integers(0, 40), max_size=3))
    document = {data.draw(st.sampled_from(list(group.TABLE))): value}
    published = json.loads(schema.schema(category))["properties"][section]["properties"]["HyperParameters"]
    try:
        group.from_document(document)
    except HyperparameterError:
        return
    assert jsonschema_rs.validator_for(published).is_valid(document), document
