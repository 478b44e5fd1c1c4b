"""Addresses, methods, HTTP itself, and many requests side by side."""

import pytest

from .server import BODY, Web, at_once, ids, request, signed

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]


@pytest.mark.parametrize(
    "path", ["/webhooks/wire?a=1&b=%00", "/webhooks/%77ire", "/webhooks/wire?", "/webhooks/wire#x"]
)
def test_other_spellings_of_the_address_reach_the_route(web: Web, path: str) -> None:
    assert web.send(request(path=path)).status == 202


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/webhooks/", ""),
        ("/webhooks/WIRE", "WIRE"),
        ("/webhooks/wire%20", "wire "),
        ("/webhooks/%E4%B8%AD", "中"),
        ("/webhooks/a%00b", "a\0b"),
        ("/webhooks/%ff", "\N{REPLACEMENT CHARACTER}"),
        ("/webhooks/%0d%0aX-Evil:%201", "\r\nX-Evil: 1"),
        ("/webhooks/..", ".."),
    ],
)
def test_a_name_that_is_no_route_is_404(web: Web, path: str, name: str) -> None:
    answer = web.send(request(path=path))
    assert (answer.status, answer.json) == (404, {"error": f"Unknown route: {name}"})
    assert not answer.header("X-Evil")


@pytest.mark.parametrize("path", ["/webhooks/wire/", "/webhooks/wire%2F", "/webhooks/a/b", "//x"])
def test_what_is_not_one_name_is_404(web: Web, path: str) -> None:
    before = web.events()
    assert web.send(request(path=path)).status == 404
    assert web.events() == before


def test_a_very_long_address_is_refused(web: Web) -> None:
    assert web.send(request(path="/webhooks/" + "a" * 60_000)).status in (404, 414)


def test_a_disabled_route_is_403_before_its_signature_is_looked_at(web: Web) -> None:
    answer = web.send(request(path="/webhooks/off", signature=None))
    assert (answer.status, answer.json) == (403, {"error": "Route disabled: off"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_only_post_is_answered(web: Web, method: str) -> None:
    answer = web.send(request(method=method, body=b""))
    assert (answer.status, answer.header("allow")) == (405, "POST")


def test_health_answers_get_and_head_alone(web: Web) -> None:
    statuses = {
        method: web.send(request(method=method, path="/health", body=b"")).status
        for method in ("GET", "HEAD", "POST")
    }
    assert statuses == {"GET": 200, "HEAD": 200, "POST": 405}


def test_http_1_0_is_answered_and_the_connection_ends(web: Web) -> None:
    answer = web.send(request(version="1.0", keep=True))
    assert (answer.status, answer.ended) == (202, True)


def test_a_client_that_asks_first_is_told_to_go_on(web: Web) -> None:
    frame = request(("Expect", "100-continue"), body=b"", length=len(BODY), signature=signed(BODY))
    assert web.send(frame, BODY, pause=0.2).statuses == [100, 202]


def test_a_client_that_asks_first_with_too_much_is_told_no_at_once(web: Web) -> None:
    answer = web.send(request(("Expect", "100-continue"), body=b"", length=10**9))
    assert answer.statuses == [413]


def test_requests_sent_behind_each_other_are_answered_in_their_order(web: Web) -> None:
    three = request(keep=True) + request(path="/webhooks/nobody", keep=True)
    three += request(signature="sha256=0")
    assert web.send(three).statuses == [202, 404, 401]


@pytest.mark.parametrize(
    "flood",
    [
        [(f"X-{number}", "v") for number in range(2000)],
        [("X-Big", "v" * 1_000_000)],
    ],
    ids=["many", "huge"],
)
def test_a_flood_of_headers_is_refused(web: Web, flood: list[tuple[str, str]]) -> None:
    answer = web.send(request(*flood))
    assert answer.statuses in ([431], [400], [])


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"POST\r\n\r\n", b"\0" * 99])
def test_what_is_no_http_is_refused(web: Web, junk: bytes) -> None:
    assert web.send(junk, close=True).statuses in ([400], [])


@pytest.mark.parametrize("value", [b"\xff\xfe\xe9", b"a\tb", b"z" * 5000, "中文".encode()])
def test_ids_and_names_of_any_bytes_are_kept_short_and_printable(web: Web, value: bytes) -> None:
    unique = value + str(next(ids)).encode()
    answer = web.send(request(("X-GitHub-Event", value), delivery=unique))
    assert answer.status == 202
    assert len(answer.json["delivery_id"]) <= 255
    assert len(answer.json["event"]) <= 200
    again = web.send(request(("X-GitHub-Event", value), delivery=unique))
    assert again.json["status"] == "duplicate"


def test_of_many_at_once_with_one_id_exactly_one_is_stored(web: Web) -> None:
    before = web.events()
    answers = at_once(20, lambda _: web.send(request(delivery="one and the same")))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [202]
    assert web.events() == before + 1


def test_one_id_with_two_bodies_at_once_is_one_event_and_one_conflict(web: Web) -> None:
    bodies = [b'{"n":1}', b'{"n":2}']
    answers = at_once(2, lambda n: web.send(request(body=bodies[n], delivery="two bodies")))
    assert sorted(answer.status for answer in answers) == [202, 409]


def test_a_limit_of_ten_lets_exactly_ten_of_fifty_in(web: Web) -> None:
    answers = at_once(50, lambda _: web.send(request(path="/webhooks/ten")))
    assert [answer.status for answer in answers].count(202) == 10
    refused = [answer for answer in answers if answer.status != 202]
    assert {answer.status for answer in refused} == {429}
    assert all(1 <= int(answer.header("retry-after")) <= 60 for answer in refused)
