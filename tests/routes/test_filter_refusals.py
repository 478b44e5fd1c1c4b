"""Filters that can't be used are refused when saved, with the place and the way out."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.filter_operators import MAX_PATTERN, OPERATORS
from routes.filters import MAX_DEPTH, MAX_PARTS, FilterError, compile_filters

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def refusal(spec: object) -> FilterError:
    with pytest.raises(FilterError) as refused:
        compile_filters(spec)
    return refused.value


def nested(depth: int, innermost: object = "x") -> Any:
    for _ in range(depth):
        innermost = [innermost]
    return innermost


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("text", "filters"),
        (7, "filters"),
        (["text"], "filters[0]"),
        ([{"field": "a", "exists": True}, {}], "filters[1]"),
        ({"field": "a"}, "filters"),
        ({"equals": 1}, "filters.field"),
        ({"field": "", "equals": 1}, "filters.field"),
        ({"field": " . ", "equals": 1}, "filters.field"),
        ({"field": 1, "equals": 1}, "filters.field"),
        ({"field": "headers", "exists": True}, "filters.field"),
        ({"field": "a", "equal": 1}, "filters.equal"),
        ({"field": "a", "equals": 1, "case": False}, "filters.case"),
        ({"field": "a", 1: 2}, "filters.1"),
        ({"field": "a", "exists": True, "equals": 1}, "filters"),
        ({"field": "a", "any": [{"field": "b", "exists": True}]}, "filters.field"),
        ({"any": []}, "filters.any"),
        ({"all": {"field": "a", "exists": True}}, "filters.all"),
        ({"not": [{"field": "a", "exists": True}]}, "filters.not"),
        ([{"any": [{"not": {"field": "a", "exists": 1}}]}], "filters[0].any[0].not.exists"),
        ({"field": "a", "missing": "yes"}, "filters.missing"),
        ({"field": "a", "in": "text"}, "filters.in"),
        ({"field": "a", "regex": 1}, "filters.regex"),
        ([{"any": [{"field": "a", "regex": "("}]}], "filters[0].any[0].regex"),
        ({"field": "a", "regex": "x" * (MAX_PATTERN + 1)}, "filters.regex"),
        ({"field": "a", "regex": "[ab]{1000}[ab]{1000}[ab]{1000}[ab]{1000}"}, "filters.regex"),
        ({"field": "a", "equals": datetime.date(2026, 1, 1)}, "filters.equals"),
        ({"field": "a", "equals": float("nan")}, "filters.equals"),
        ({"field": "a", "in": [1, [float("inf")]]}, "filters.in[1][0]"),
        ({"field": "a", "equals": {"b": {1: 2}}}, "filters.equals.b"),
    ],
)
def test_a_fault_is_refused_with_its_place(spec: object, path: str) -> None:
    refused = refusal(spec)
    assert refused.path == path
    assert str(refused).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("condition", "way_out"),
    [
        ({"field": "a", "in_file": "list.txt"}, "write the values themselves into “in”"),
        ({"script": "check.py"}, "scripts are not run"),
        ({"field": "a", "equls": 1}, "is “equals” meant?"),
        ({"field": "a", "regex": "a(?!b)"}, "use “not”"),
        ({"field": "a", "regex": "(?<=a)b"}, "use “not”"),
        ({"field": "a", "regex": "(a)\\1"}, "back references are not possible"),
        ({"field": "a", "regex": "a\\Z"}, "\\z"),
        ({"field": "a", "regex": "["}, "missing ]"),
        ({"field": "a", "exists": True, "in": []}, "exists, in"),
        ({"field": "a"}, "all, any, not, exists, missing, equals, not_equals, contains, in, regex"),
        ({"field": "headers", "exists": True}, "headers.x-github-event"),
        ({"field": "a", "equals": datetime.date(2026, 1, 1)}, "put it in quotes"),
    ],
)
def test_a_refusal_names_the_way_out(condition: dict[str, Any], way_out: str) -> None:
    assert way_out in str(refusal(condition))


class TestBounds:
    def test_conditions_too_deep_are_refused(self) -> None:
        condition: dict[str, Any] = {"field": "a", "exists": True}
        for _ in range(MAX_DEPTH):
            condition = {"not": condition}
        assert "deep" in str(refusal(condition))

    def test_a_value_too_deep_is_refused(self) -> None:
        assert "deep" in str(refusal({"field": "a", "equals": nested(MAX_DEPTH)}))

    def test_a_filter_that_holds_itself_is_refused(self) -> None:
        knot: dict[str, Any] = {}
        knot["not"] = knot
        assert "deep" in str(refusal(knot))

    def test_a_filter_that_multiplies_itself_is_refused(self) -> None:
        laughs: Any = {"field": "a", "exists": True}
        for _ in range(MAX_DEPTH - 2):
            laughs = {"any": [laughs] * 10}
        assert "too many" in str(refusal(laughs))

    def test_many_values_are_fine_up_to_a_limit(self) -> None:
        many = compile_filters({"field": "a", "in": [str(n) for n in range(MAX_PARTS - 2)]})
        assert many.match({"a": "7"}, "push", {})
        assert "too many" in str(refusal({"field": "a", "in": ["x"] * MAX_PARTS}))


@given(spec=JSON | st.lists(st.dictionaries(st.sampled_from([*OPERATORS, "any", "not"]), JSON)))
def test_whatever_is_given_as_a_filter_compiles_or_is_refused(spec: object) -> None:
    fault = None
    try:
        compile_filters(spec)
    except FilterError as refused:
        fault = refused
    assert fault is None or (fault.path.startswith("filters") and str(fault.reason))
