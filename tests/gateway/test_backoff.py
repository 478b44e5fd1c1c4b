"""How long a crashed child waits before it is started again."""

from hermes_site.gateway.child import Child


def test_a_child_that_crashes_again_and_again_waits_longer_and_longer() -> None:
    child = Child("web", "nothing")
    assert [child.start_later(now=1.0) for _ in range(6)] == [1, 2, 5, 10, 10, 10]


def test_a_child_that_lived_a_minute_begins_anew() -> None:
    child = Child("web", "nothing")
    assert [child.start_later(now=1.0), child.start_later(now=1.0)] == [1, 2]
    assert child.start_later(now=61.0) == 1
    assert child.due == 62.0
