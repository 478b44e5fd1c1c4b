"""Entries of a home's files, whatever is in them."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routes.config_entries import _DEFAULTS, BrokenEntry, read_entry
from routes.models import Route

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | SCALARS, inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [*_DEFAULTS, "secret", "filters", "deliver", "deliver_extra", "agent", "script", "profile"]
)


@given(st.text() | SCALARS, st.dictionaries(KEYS | SCALARS, VALUES, max_size=6) | VALUES)
@settings(max_examples=300, deadline=None)
def test_an_entry_is_a_route_that_can_be_stored_or_it_is_broken(name: object, raw: object) -> None:
    with suppress(BrokenEntry):
        entry = read_entry(name, raw)
        Route(name=entry.name, **entry.fields).clean_fields()
        json.dumps(entry.fields, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("entry", "preset"),
    [
        ({"custom_scheme": {"header": "X-Signature"}}, "custom"),
        ({"custom_scheme": {"header": "X-Signature"}, "preset": "custom"}, "custom"),
        ({"custom_scheme": {}}, "auto"),
        ({"preset": "stripe"}, "stripe"),
    ],
)
def test_who_describes_a_scheme_need_not_say_that_it_is_custom(
    entry: dict[str, object], preset: str
) -> None:
    assert read_entry("a", entry).fields["preset"] == preset


def test_a_fault_of_a_custom_scheme_is_named_by_its_path() -> None:
    scheme = {"header": "X-Signature", "timestamp": {"header": "X-Time", "unit": "hours"}}
    with pytest.raises(BrokenEntry, match=r"custom_scheme: .*timestamp\.unit"):
        read_entry("a", {"custom_scheme": scheme})


def test_a_filter_that_holds_itself_is_broken() -> None:
    loop: dict[str, object] = {}
    loop["not"] = loop
    with pytest.raises(BrokenEntry):
        read_entry("a", {"filters": loop})
