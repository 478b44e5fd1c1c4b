import os
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deliveries.outcomes import Verdict
from platforms import github_login
from platforms.senders.github_comment import GitHubComment

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
ADDRESS = "https://github.com/acme/site/pull/7#issuecomment-1"
CREATED = Answer.json(201, {"id": 1, "html_url": ADDRESS})
PLACE = {"repo": "acme/site", "pr_number": "7"}


def no(status: int, words: str, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer.json(status, {"message": words}, headers=names)


class TestGitHubComment(TextSenderCase):
    secret = TOKEN
    target = PLACE
    arrived = CREATED
    checked = (Answer.json(200, {"login": "octocat"}),)

    def make(self, fake: FakePlatform, **config: Any) -> GitHubComment:
        return GitHubComment({"token": TOKEN, **config})

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["body"] for document in fake.documents]

    def test_the_request_is_the_rest_apis(self, fake: FakePlatform) -> None:
        fake.script(CREATED)
        message = text_message("Looks **good**", target=PLACE)
        outcome = self.make(fake).send(message)
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/repos/acme/site/issues/7/comments")
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["accept"] == "application/vnd.github+json"
        assert seen.headers["x-github-api-version"] == "2022-11-28"
        assert seen.headers["user-agent"]
        body = f"Looks **good**\n\n<!-- delivery:{message.id}:1 -->"
        assert seen.document == {"body": body}
        assert outcome.provider_ids == {"html_url": [ADDRESS]}

    @pytest.mark.parametrize(
        ("answer", "verdict", "error_class", "faults", "wait"),
        [
            (no(401, "Bad credentials"), Verdict.FAILED, "unauthorized", True, None),
            (no(403, "Wait", Retry_After="30"), Verdict.RETRY, "rate_limited", False, 30),
            (
                no(403, "You have exceeded a secondary rate limit"),
                Verdict.RETRY,
                "rate_limited",
                False,
                60,
            ),
            (
                no(403, "You have triggered an abuse detection mechanism"),
                Verdict.RETRY,
                "rate_limited",
                False,
                60,
            ),
            (no(429, "Too many requests"), Verdict.RETRY, "rate_limited", False, 60),
            (
                no(403, "Resource not accessible by personal access token"),
                Verdict.FAILED,
                "forbidden",
                True,
                None,
            ),
            (
                no(403, "Resource protected by organization SAML enforcement."),
                Verdict.FAILED,
                "forbidden",
                True,
                None,
            ),
            (
                no(403, "Unable to create comment because issue is locked."),
                Verdict.FAILED,
                "locked",
                False,
                None,
            ),
            (no(404, "Not Found"), Verdict.FAILED, "not_found", False, None),
            (
                no(410, "Issues are disabled for this repo"),
                Verdict.FAILED,
                "not_found",
                False,
                None,
            ),
            (no(422, "Validation Failed"), Verdict.FAILED, "client_error", False, None),
            (no(422, "was submitted too quickly"), Verdict.RETRY, "rate_limited", False, 60),
            (no(500, "Server Error"), Verdict.RETRY, "server_error", False, None),
        ],
    )
    def test_what_github_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        answer: Answer,
        verdict: Verdict,
        error_class: str,
        faults: bool,
        wait: float | None,
    ) -> None:
        outcome = self.send(fake, answer)
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert outcome.retry_after == wait

    def test_a_spent_limit_waits_for_its_reset(self, fake: FakePlatform) -> None:
        reset = str(int(time.time()) + 120)
        spent = no(
            403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset=reset
        )
        outcome = self.send(fake, spent)
        assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "rate_limited")
        assert outcome.retry_after == pytest.approx(120, abs=3)

    def test_the_wait_without_a_hint_grows(self, fake: FakePlatform) -> None:
        limit = no(403, "secondary rate limit")
        fake.script(Answer.json(200, []), limit)
        message = text_message(target=PLACE, number=3, retrying=True)
        assert self.make(fake).send(message).retry_after == 240

    def test_a_comment_that_is_there_already_is_not_posted_again(self, fake: FakePlatform) -> None:
        created = datetime(2026, 11, 20, 21, 0, 0, tzinfo=UTC)
        message = text_message(target=PLACE, retrying=True, number=2, created_at=created)
        there = {"body": f"Hello\r\n\r\n<!-- delivery:{message.id}:1 -->", "html_url": ADDRESS}
        fake.script(Answer.json(200, [{"body": "else"}, {"body": None}, there]))
        outcome = self.make(fake).send(message)
        assert outcome.verdict == Verdict.DELIVERED
        assert outcome.provider_ids == {"html_url": [ADDRESS]}
        [seen] = fake.requests
        assert seen.method == "GET"
        assert seen.path == (
            "/repos/acme/site/issues/7/comments?since=2026-11-20T20%3A55%3A00Z&per_page=100&page=1"
        )

    def test_a_comment_that_is_not_there_is_posted(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, [{"body": "quoted <!-- delivery:x:1 -->"}]), CREATED)
        message = text_message(target=PLACE, retrying=True)
        assert self.make(fake).send(message).verdict == Verdict.DELIVERED
        assert [seen.method for seen in fake.requests] == ["GET", "POST"]

    def test_after_a_crash_only_the_missing_parts_are_posted(self, fake: FakePlatform) -> None:
        message = text_message("word " * 30_000, target=PLACE, retrying=True)
        there = {"body": f"…\n<!-- delivery:{message.id}:1 -->", "html_url": ADDRESS}
        fake.script(Answer.json(200, [there]), CREATED)
        assert self.make(fake).send(message).verdict == Verdict.DELIVERED
        assert ["(2/3)" in text or "(3/3)" in text for text in self.texts(fake)] == [True, True]

    def test_the_search_reads_long_pages_and_goes_on(self, fake: FakePlatform) -> None:
        message = text_message(target=PLACE, retrying=True)
        page = [{"body": "x" * 5000}] * 100
        there = {"body": f"<!-- delivery:{message.id}:1 -->", "html_url": ADDRESS}
        fake.script(Answer.json(200, page), Answer.json(200, [there]))
        assert self.make(fake).send(message).verdict == Verdict.DELIVERED
        assert [seen.method for seen in fake.requests] == ["GET", "GET"]

    @pytest.mark.parametrize(
        "answer", [Answer(500), Answer(200, {}, b"<html>"), Answer(hangs_up=True)]
    )
    def test_nothing_is_posted_while_it_is_unknown_what_arrived(
        self, fake: FakePlatform, answer: Answer
    ) -> None:
        fake.script(answer)
        outcome = self.make(fake).send(text_message(target=PLACE, retrying=True))
        assert outcome.verdict == Verdict.RETRY
        assert all(seen.method == "GET" for seen in fake.requests)

    @pytest.mark.parametrize(
        "target",
        [
            {"repo": "acme", "pr_number": "7"},
            {"repo": "acme/..", "pr_number": "7"},
            {"repo": "acme/.", "pr_number": "7"},
            {"repo": "acme/site/../../user", "pr_number": "7"},
            {"repo": "acme/site?x=", "pr_number": "7"},
            {"repo": "acme/site", "pr_number": "0"},
            {"repo": "acme/site", "pr_number": "7/../8"},
            {"repo": "acme/site", "pr_number": "٧"},
            {"repo": "acme/site", "pr_number": -7},
        ],
    )
    def test_a_target_that_github_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, Any]
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "bad_target")
        assert fake.requests == []

    def test_a_number_may_be_a_number(self, fake: FakePlatform) -> None:
        fake.script(CREATED)
        self.make(fake).send(text_message(target={"repo": "acme/site", "pr_number": 12}))
        assert fake.requests[0].path == "/repos/acme/site/issues/12/comments"

    def test_the_repository_may_be_the_homes(self, fake: FakePlatform) -> None:
        fake.script(CREATED)
        sender = GitHubComment({"token": TOKEN}, {"repo": "acme/home"})
        sender.send(text_message(target={"repo": "{repository.full_name}", "pr_number": "3"}))
        assert fake.requests[0].path == "/repos/acme/home/issues/3/comments"

    def test_a_payload_without_a_number_is_no_fault_of_the_channel(
        self, fake: FakePlatform
    ) -> None:
        target = {"repo": "acme/site", "pr_number": "{number}"}
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "no_destination")
        assert not outcome.faults_channel

    def test_mentions_call_nobody(self, fake: FakePlatform) -> None:
        fake.script(CREATED)
        text = "@octocat and @acme/team, not me@example.com; `@code`\n```\n@decorator\n```"
        self.make(fake).send(text_message(text, target=PLACE))
        [body] = self.texts(fake)
        assert "@\u200boctocat and @\u200bacme/team, not me@example.com; `@code`" in body
        assert "\n@decorator\n" in body

    def test_mentions_may_be_allowed(self, fake: FakePlatform) -> None:
        fake.script(CREATED)
        self.make(fake, defuse_mentions=False).send(text_message("@octocat", target=PLACE))
        assert self.texts(fake)[0].startswith("@octocat")

    def test_the_check_reads_the_default_repository_too(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {"login": "octocat"}), Answer.json(200, {}))
        check = GitHubComment({"token": TOKEN}, {"repo": "acme/site"}).check()
        assert check.ok
        assert "octocat" in check.detail
        assert [seen.path for seen in fake.requests] == ["/user", "/repos/acme/site"]

    def test_the_check_says_when_the_repository_cannot_be_seen(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {"login": "octocat"}), no(404, "Not Found"))
        check = GitHubComment({"token": TOKEN}, {"repo": "acme/site"}).check()
        assert not check.ok
        assert "acme/site" in check.detail

    def test_an_installations_token_has_no_account_to_read(self, fake: FakePlatform) -> None:
        fake.script(Answer.json(200, {}))
        token = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
        assert GitHubComment({"token": token}, {"repo": "acme/site"}).check().ok
        assert [seen.path for seen in fake.requests] == ["/repos/acme/site"]


def put_gh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    gh = folder / "gh"
    gh.write_text(f"#!/bin/sh\n{script}\n")
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    github_login.forget()


def authorization(fake: FakePlatform, **config: Any) -> str | None:
    fake.script(CREATED)
    GitHubComment(config).send(text_message(target=PLACE))
    return fake.requests[-1].headers.get("authorization") if fake.requests else None


def test_without_a_token_anywhere_the_channel_is_flagged(fake: FakePlatform) -> None:
    outcome = GitHubComment({}).send(text_message(target=PLACE))
    assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, "unauthorized")
    assert outcome.faults_channel
    assert "gh auth login" in outcome.error
    assert not GitHubComment({}).check().ok


@pytest.mark.parametrize("name", ["GH_TOKEN", "GITHUB_TOKEN"])
def test_the_environments_token_is_used(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "ghp_environment")
    assert authorization(fake) == "Bearer ghp_environment"
    assert "ghp_environment" in GitHubComment({}).secrets()


def test_the_login_of_gh_is_used(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_gh(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/asked; echo gho_login')
    assert authorization(fake) == "Bearer gho_login"
    asked = (tmp_path / "asked").read_text()
    assert asked == "auth token --hostname github.com\n"


def test_the_channels_own_token_goes_first(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", "ghp_environment")
    assert authorization(fake, token=TOKEN) == f"Bearer {TOKEN}"


def test_the_environments_token_goes_to_no_address_that_a_channel_names(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GH_TOKEN", "ghp_environment")
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "ghp_enterprise")
    put_gh(tmp_path, monkeypatch, 'echo "${GH_ENTERPRISE_TOKEN:-gho_of_$4}"')
    assert authorization(fake, api_base=fake.url) == "Bearer gho_of_127.0.0.1"


@pytest.mark.parametrize("script", ["exit 1", "printf ''", "printf '\\377\\376'"])
def test_a_gh_without_a_login_is_none(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    put_gh(tmp_path, monkeypatch, script)
    assert authorization(fake) is None


def test_a_gh_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_gh(tmp_path, monkeypatch, "exec sleep 30")
    monkeypatch.setattr(github_login, "GH_SECONDS", 0.2)
    assert github_login.token() == ""


def test_a_refused_login_is_asked_for_again(
    fake: FakePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_gh(tmp_path, monkeypatch, "echo gho_old")
    fake.script(no(401, "Bad credentials"))
    GitHubComment({}).send(text_message(target=PLACE))
    (tmp_path / "gh").write_text("#!/bin/sh\necho gho_new\n")
    assert authorization(fake) == "Bearer gho_new"


def test_the_stored_token_can_be_forgotten() -> None:
    stored = {"token": TOKEN}
    assert GitHubComment.prepare_config(stored, {"token": ""})["token"] == TOKEN
    forgotten = GitHubComment.prepare_config(stored, {"token": "", "use_login": True})
    assert "token" not in forgotten


def test_a_retry_after_progress_starts_at_the_part_that_failed(fake: FakePlatform) -> None:
    fake.script(Answer.json(200, []), CREATED)
    message = text_message("word " * 30_000, target=PLACE)
    again = replace(message, retrying=True, progress={"parts_sent": 2})
    assert GitHubComment({"token": TOKEN}).send(again).verdict == Verdict.DELIVERED
    [body] = [document["body"] for document in fake.documents]
    assert "(3/3)" in body
