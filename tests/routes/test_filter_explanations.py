"""Why a filter does not let an event through, as a person reads it."""

from routes.filters import compile_filters


class TestExplanation:
    FILTERS = (
        {"field": "action", "in": ["opened", "reopened"]},
        {
            "any": [
                {"field": "repository.full_name", "equals": "acme/shop"},
                {"field": "headers.authorization", "contains": "admin"},
            ]
        },
        {
            "not": {
                "all": [{"field": "sender.type", "equals": "Bot"}, {"field": "a", "missing": True}]
            }
        },
    )

    def explain(self, **changes: object) -> str | None:
        payload = {
            "action": "opened",
            "repository": {"full_name": "acme/shop"},
            "sender": {"type": "User"},
        }
        filters = compile_filters(list(self.FILTERS))
        return filters.explain({**payload, **changes}, "issues", {"authorization": "Basic secret"})

    def test_what_matches_has_none(self) -> None:
        assert self.explain() is None

    def test_it_names_the_first_condition_and_what_was_there(self) -> None:
        assert self.explain(action="closed", repository={}) == (
            'filters[0].in: action in ["opened", "reopened"], but it is "closed"'
        )

    def test_it_says_what_is_missing(self) -> None:
        assert self.explain(action=[1, 2]) == (
            'filters[0].in: action in ["opened", "reopened"], but it is a list of 2'
        )
        assert self.explain(action={}) == (
            'filters[0].in: action in ["opened", "reopened"], but it is an object'
        )

    def test_it_goes_through_alternatives_and_shows_no_header(self) -> None:
        assert self.explain(repository={}) == (
            "filters[1].any: none holds. "
            'filters[1].any[0].equals: repository.full_name equals "acme/shop", '
            "but it is missing; "
            'filters[1].any[1].contains: headers.authorization contains "admin", but it is there'
        )

    def test_it_says_what_holds_and_must_not(self) -> None:
        assert self.explain(sender={"type": "Bot"}) == (
            'filters[2].not: all(sender.type equals "Bot", a missing true) holds, and must not'
        )

    def test_long_values_are_cut(self) -> None:
        explained = compile_filters({"field": "a", "equals": "x" * 500}).explain(
            {"a": "y" * 5000}, "push", {}
        )
        assert explained is not None
        assert len(explained) < 250
