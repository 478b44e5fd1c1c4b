"""What sentences to the system agent mean."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.grammar import LIMIT, Intent, Sentence, understand

NAMES = ["DemoBot", "DemoBot 2", "default", "小助手", "webhook"]
KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAwMDE="
HOOK = "https://my-agent.example.workers.dev/hashee/webhook"


def heard(text: str) -> Sentence:
    return understand(text, NAMES, "default")


@pytest.mark.parametrize(
    "text",
    [
        # Spec 002, 注册 Webhook URL; with its line breaks, and as it came to us without them.
        f"把 DemoBot 的连接模式改成 webhook\nURL: {HOOK}\nsecret: {KEY}",
        f"把 DemoBot 的连接模式改成 webhookURL: {HOOK}secret: {KEY}",
        f"把 DemoBot 的连接模式改成 webhook，URL：{HOOK}，secret：{KEY}",
        f"把DemoBot切换到webhook模式，地址：{HOOK} 密钥：{KEY}",
        f"请将 DemoBot 设为 Webhook， {HOOK} ，密钥是 {KEY}。",
        f"switch DemoBot to webhook {HOOK} secret {KEY}",
        f"Switch DemoBot to webhook, URL: {HOOK}, secret: {KEY}.",
        f"please change the connection mode of demobot to a webhook at {HOOK} with secret={KEY}",
        f'set DemoBot to web hook <{HOOK}> secret "{KEY}"',
        f"Move DemoBot to web-hook mode; url {HOOK}; secret is {KEY}",
    ],
)
def test_the_sentence_of_the_protocol_in_its_natural_forms(text: str) -> None:
    assert heard(text) == Sentence(
        Intent.SWITCH, ("DemoBot",), mode="webhook", url=HOOK, secret=KEY
    )


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("switch DemoBot to WebSocket", "websocket"),
        ("把 DemoBot 改成 WebSocket", "websocket"),
        ("请帮我把DemoBot换成websocket模式", "websocket"),
        ("DemoBot 切换到长连接", "websocket"),
        ("Please move DemoBot back to web sockets.", "websocket"),
        ("DemoBot 改用 ws", "websocket"),
        ("put DemoBot in pull mode", "pull"),
        ("把 DemoBot 改为拉取", "pull"),
        ("DemoBot 切到轮询", "pull"),
        ("let DemoBot use long-polling", "pull"),
        ("switch DemoBot to completions", "completions"),
        ("把 DemoBot 换成 OpenAI 对话补全", "completions"),
    ],
)
def test_every_mode_has_its_words_in_both_languages(text: str, mode: str) -> None:
    assert heard(text) == Sentence(Intent.SWITCH, ("DemoBot",), mode=mode)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("status", Intent.STATUS),
        ("show status", Intent.STATUS),
        ("Show me all agents", Intent.STATUS),
        ("状态", Intent.STATUS),
        ("查看状态", Intent.STATUS),
        ("列出所有智能体", Intent.STATUS),
        ("help", Intent.HELP),
        ("Help!", Intent.HELP),
        ("?", Intent.HELP),
        ("帮助", Intent.HELP),
        ("你能做什么？", Intent.HELP),
        ("what can you do?", Intent.HELP),
    ],
)
def test_what_needs_no_agent(text: str, intent: Intent) -> None:
    assert heard(text) == Sentence(intent)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("status of DemoBot", Intent.STATUS),
        ("how is DemoBot?", Intent.STATUS),
        ("is DemoBot online?", Intent.STATUS),
        ("What is the connection mode of DemoBot?", Intent.STATUS),
        ("DemoBot 的状态", Intent.STATUS),
        ("DemoBot 现在是什么模式", Intent.STATUS),
        ("DemoBot 怎么样？", Intent.STATUS),
        ("recover DemoBot", Intent.RECOVER),
        ("Please bring DemoBot back", Intent.RECOVER),
        ("恢复 DemoBot", Intent.RECOVER),
        ("重新连接 DemoBot", Intent.RECOVER),
        ("rotate the secret of DemoBot", Intent.ROTATE),
        ("rotate DemoBot's webhook secret", Intent.ROTATE),
        ("give DemoBot a new secret", Intent.ROTATE),
        ("轮换 DemoBot 的密钥", Intent.ROTATE),
        ("给 DemoBot 换一个密钥", Intent.ROTATE),
        ("suspend DemoBot", Intent.SUSPEND_AGENT),
        ("暂停 DemoBot", Intent.SUSPEND_AGENT),
        ("restore DemoBot", Intent.RESTORE_AGENT),
        ("解除暂停 DemoBot", Intent.RESTORE_AGENT),
    ],
)
def test_what_is_done_to_an_agent(text: str, intent: Intent) -> None:
    sentence = heard(text)
    assert (sentence.intent, sentence.agents) == (intent, ("DemoBot",))


@pytest.mark.parametrize(
    "text",
    [
        f"rotate the secret of DemoBot, secret: {KEY}",
        f"change the secret of DemoBot to {KEY}",
        f"把 DemoBot 的密钥换成 {KEY}",
        f"轮换 DemoBot 的密钥，密钥：{KEY}",
    ],
)
def test_a_new_secret_can_be_given(text: str) -> None:
    assert heard(text) == Sentence(Intent.ROTATE, ("DemoBot",), secret=KEY)


@pytest.mark.parametrize(
    ("text", "intent", "person"),
    [
        (
            "suspend the relation of telegram:12345 with DemoBot",
            Intent.SUSPEND_RELATION,
            "telegram:12345",
        ),
        ("暂停 DemoBot 与 telegram:12345 的关系", Intent.SUSPEND_RELATION, "telegram:12345"),
        (
            "restore the relation between DemoBot and webhook:github-pr",
            Intent.RESTORE_RELATION,
            "webhook:github-pr",
        ),
        ("恢复 DemoBot 与 telegram:12345 的关系", Intent.RESTORE_RELATION, "telegram:12345"),
        ("revoke DemoBot's relation with user ann", Intent.REVOKE_RELATION, "ann"),
        ("撤销 DemoBot 与用户 ann 的关系", Intent.REVOKE_RELATION, "ann"),
    ],
)
def test_what_is_done_to_a_relation(text: str, intent: Intent, person: str) -> None:
    assert heard(text) == Sentence(intent, ("DemoBot",), person=person)


def test_an_endpoint_and_its_model_are_heard() -> None:
    text = "switch DemoBot to completions at https://llm.example/v1 model llama3:8b api key: sk-1"
    assert heard(text) == Sentence(
        Intent.SWITCH,
        ("DemoBot",),
        mode="completions",
        url="https://llm.example/v1",
        model="llama3:8b",
        secret="sk-1",
    )


def test_a_url_alone_is_a_webhook() -> None:
    assert heard(f"register {HOOK} for DemoBot").mode == "webhook"
    assert heard(f"把 DemoBot 的地址改成 {HOOK}").mode == "webhook"


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("recover DemoBot 2", ("DemoBot 2",)),
        ("recover demobot", ("DemoBot",)),
        ("recover DemoBot-3", ()),
        ("recover MyDemoBot", ()),
        ("恢复小助手", ("小助手",)),
        ("恢复默认", ("default",)),
        ("recover the default agent", ("default",)),
        ("recover", ()),
        ("recover FooBot", ()),
        ("recover DemoBot and 小助手", ("DemoBot", "小助手")),
        ("switch webhook to websocket", ("webhook",)),
        ("switch DemoBot to webhook", ("DemoBot",)),
    ],
)
def test_names_are_found_whole(text: str, agents: tuple[str, ...]) -> None:
    assert heard(text).agents == agents


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello",
        "what's the weather?",
        "delete DemoBot",
        "DemoBot",
        "webhook",
        "don't switch DemoBot to webhook",
        "Do not recover DemoBot",
        "never mind",
        "不要把 DemoBot 改成 webhook",
        "别暂停 DemoBot",
        "x" * (LIMIT + 1),
        "switch DemoBot",
        "把 DemoBot 改成",
    ],
)
def test_what_is_not_understood_or_not_wanted_is_nothing(text: str) -> None:
    assert heard(text).intent is None


def test_a_secret_is_not_in_the_repr_of_a_sentence() -> None:
    assert KEY not in repr(heard(f"switch DemoBot to webhook {HOOK} secret {KEY}"))


WORDS = [
    "把",
    "switch",
    "DemoBot",
    "webhook",
    "secret:",
    "URL:",
    HOOK,
    KEY,
    "恢复",
    "\n",
    "：",
    "to",
]


@settings(max_examples=300, deadline=1000)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=30).map(" ".join))
def test_whatever_is_said_it_is_answered_soon_and_without_an_error(text: str) -> None:
    sentence = heard(text)
    assert set(sentence.agents) <= set(NAMES)


@pytest.mark.parametrize("text", ["secret " * 570, "is up " * 660, "a:" * 2000, "https://" * 500])
def test_no_sentence_takes_long(text: str) -> None:
    import time

    start = time.perf_counter()
    heard(text[:LIMIT])
    assert time.perf_counter() - start < 0.5
