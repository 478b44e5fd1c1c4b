"""What a sentence to the system agent means: patterns as data, Chinese and English, no model.

Values come first (secret, URL, person), then the agent's name, and the intent is found in what is
left; so neither a URL nor a name is mistaken for a word of the sentence.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LIMIT = 4000  # characters of a sentence


class Intent(StrEnum):
    """What is wanted."""

    HELP = "help"
    STATUS = "status"
    SWITCH = "switch"
    ROTATE = "rotate"
    RECOVER = "recover"
    SUSPEND_RELATION = "suspend_relation"
    RESTORE_RELATION = "restore_relation"
    REVOKE_RELATION = "revoke_relation"
    SUSPEND_AGENT = "suspend_agent"
    RESTORE_AGENT = "restore_agent"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, understood. ``intent`` None: it is not; ``agents``: the names that are in it."""

    intent: Intent | None
    agents: tuple[str, ...] = ()
    mode: str = ""
    url: str = ""
    secret: str = field(default="", repr=False)
    model: str = ""
    person: str = ""


_I = re.IGNORECASE
_QUOTED = r"[\"'“”‘’「」<>`]"
# The spec writes it without a line break: "…/hashee/webhooksecret: …".
_KEY_WORD = r"(?:secret|api[ _-]?key|signing key|签名密钥|密钥|秘钥|口令)"
_GIVEN = (
    rf"{_KEY_WORD}\s*(?:[:：=]|是|为|用)\s*{_QUOTED}?(?P<value>[^\s\"'“”‘’「」`，。；]+)",
    rf"{_KEY_WORD}\s+(?:to\s+|is\s+)?{_QUOTED}?(?P<value>(?=\S*[\d+/=_-])[A-Za-z0-9+/=_-]{{16,}})",
    # "the secret of DemoBot to …": only the value goes.
    rf"(?P<kept>{_KEY_WORD}[^\n]{{0,80}}?(?:\bto\b|换成|改成|改为|换为|设为|设成)\s*[:：]?\s*)"
    r"(?P<value>[A-Za-z0-9+/=_-]{16,})",
)
_URLS = (
    rf"(?:url|网址|地址|链接)\s*(?:[:：=]|是|为)\s*{_QUOTED}?(?P<value>[^\s\"'“”‘’「」<>`，。；]+)",
    r"(?P<value>https?://[^\s\"'“”‘’「」<>`，。；]+)",
)
_MODELS = (r"(?:model|模型)\s*(?:[:：=]|是|为)?\s*(?P<value>[A-Za-z0-9][\w./:@-]*)",)
_PERSONS = (
    r"(?:user|person|sender|用户|发送者)\s*(?:[:：=])?\s*(?P<value>[\w.@+-]+(?::[^\s，。；]+)?)",
    r"(?P<value>\b[a-z_]{2,20}:[^\s，。；:/][^\s，。；]*)",
)

_MODES: tuple[tuple[str, str], ...] = (
    ("websocket", r"web[ -]?sockets?|(?<![a-z])wss?(?![a-z])|长连接|套接字"),
    ("webhook", r"web[ -]?hooks?|网络钩子|回调"),
    ("completions", r"(?:chat[ -]?)?completions?|openai|对话补全|聊天补全|补全"),
    ("pull", r"(?:long[ -]?)?poll(?:ing)?|(?<![a-z])pull(?:ing)?(?![a-z])|拉取|轮询"),
)

_NOT = r"\b(?:don'?t|do not|never|not|cancel)\b|don’t|不要|不用|别|勿|取消"
_RELATION = r"relations?\b|relationship|关系"
_SUSPEND = r"\bsuspend|\bpause\b|\bblock\b|(?<!解除)暂停|冻结|停用|屏蔽"
_RESTORE = r"\brestore\b|\bresume\b|\bunsuspend\b|\bunblock\b|恢复|解冻|解除暂停|重新启用"
_REVOKE = r"\brevoke\b|\bend\b|\bremove\b|撤销|解除(?!暂停)|断开"
_CHANGE = (
    r"\b(?:switch|change|set|move|make|put|turn|convert|use|reconnect|connect|register|point)\b"
    r"|改成|改为|改到|改用|换成|换为|换到|切换|切到|切成|设为|设成|设置|转为|转成|变成|使用|注册|更改"
)
_ROTATE = (
    r"\b(?:rotate|renew|regenerate|replace|reset|refresh|change|new)\b"
    r"|轮换|更换|轮转|更新|重置|重新生成|换一个|换掉|换新|换成|改成|换"
)
_OF_KEYS = r"\bsecrets?\b|signing key|密钥|秘钥"
_RECOVER = (
    r"\brecover|\breconnect\b|\brevive\b|\bbring\b.*\bback\b|\bretry\b|恢复|重连|重新连接|唤醒"
)
_STATUS = (
    r"\bstatus\b|\bstate\b|\bhealth\b|\bhow (?:is|are)\b|\bshow\b|\blist\b"
    r"|\bis\b.*\b(?:up|ready|online|reachable)\b"
    r"|\bwhat(?:'s| is)\b.*\bmode\b|状态|状况|情况|怎么样|在线|还好|查看|显示|列出|什么模式"
)
_HELP = r"^\W*(?:help|\?|？|帮助|帮忙|使用说明|怎么用|你会什么|你能做什么|what can you do)\W*$"

# In this order; every pattern of a line must be found.
_INTENTS: tuple[tuple[Intent, tuple[str, ...]], ...] = (
    (Intent.HELP, (_HELP,)),
    (Intent.SUSPEND_RELATION, (_SUSPEND, _RELATION)),
    (Intent.RESTORE_RELATION, (_RESTORE, _RELATION)),
    (Intent.REVOKE_RELATION, (_REVOKE, _RELATION)),
    (Intent.ROTATE, (_ROTATE, _OF_KEYS)),
    (Intent.RESTORE_AGENT, (r"\brestore\b|\bresume\b|\bunsuspend\b|解除暂停|解冻|重新启用",)),
    (Intent.SUSPEND_AGENT, (_SUSPEND,)),
    (Intent.RECOVER, (_RECOVER,)),
    (Intent.STATUS, (_STATUS,)),
)


def understand(text: str, names: Iterable[str], default: str = "") -> Sentence:
    """Return what a sentence means; ``names`` are those of the agents, ``default`` one of them.

    Nothing is understood of a sentence that says not to, or that is longer than LIMIT.
    """
    if len(text) > LIMIT:
        return Sentence(None)
    rest, values = text, {}
    for name, patterns in _VALUES.items():
        rest, values[name] = _take(rest, patterns)
    rest, agents = _take_names(rest, names, default)
    mode = next((mode for mode, pattern in _MODES if re.search(pattern, rest, _I)), "")
    if not mode and values["url"]:
        mode = "completions" if values["model"] else "webhook"
    intent = _intent(rest, mode, values)
    return Sentence(intent, agents, mode=mode, **values)


_VALUES: Mapping[str, tuple[str, ...]] = {
    "secret": _GIVEN,
    "url": _URLS,
    "model": _MODELS,
    "person": _PERSONS,
}


def _intent(rest: str, mode: str, values: Mapping[str, str]) -> Intent | None:
    if re.search(_NOT, rest, _I):
        return None
    # "Rotate the webhook secret" is no switch, "… with a generated secret at https://…" is one.
    of_keys = re.search(_OF_KEYS, rest, _I) and not values["url"]
    if mode and not of_keys and re.search(_CHANGE, rest, _I):
        return Intent.SWITCH
    for intent, patterns in _INTENTS:
        if all(re.search(pattern, rest, _I) for pattern in patterns):
            return intent
    # "Rotate it, secret: …": the word went with its value.
    if values["secret"] and re.search(_ROTATE, rest, _I):
        return Intent.ROTATE
    return None


def _take(text: str, patterns: Iterable[str]) -> tuple[str, str]:
    """Return a text without the first value that a pattern finds, and the value."""
    for pattern in patterns:
        if found := re.search(pattern, text, _I):
            start = found.end("kept") if "kept" in found.groupdict() else found.start()
            value = found["value"].rstrip(">,.;)）")
            return f"{text[:start]} {text[found.end() :]}", value
    return text, ""


def _take_names(text: str, names: Iterable[str], default: str) -> tuple[str, tuple[str, ...]]:
    """Return a text without the names of agents that are in it, and these in their order.

    A name that is a word of the sentence, too ("webhook"), counts only where no other is named.
    """
    found: list[tuple[int, int, str]] = []
    aliases = {name: name for name in names}
    if default:
        aliases |= {"默认": default, "default agent": default}
    for spelling in sorted(aliases, key=len, reverse=True):
        for match in re.finditer(_whole(spelling), text, _I):
            start, end = match.span()
            if all(end <= one or start >= other for one, other, _name in found):
                found.append((start, end, aliases[spelling]))
    plain = [item for item in found if not _is_word(item[2])]
    chosen = sorted(plain or found[:1])
    for start, end, _name in reversed(chosen):
        text = f"{text[:start]} {text[end:]}"
    return text, tuple(dict.fromkeys(name for _start, _end, name in chosen))


def _whole(name: str) -> str:
    """Return a pattern for a name that is not a part of a longer word; Chinese has no gaps."""
    before = r"(?<![A-Za-z0-9_-])" if re.match(r"[A-Za-z0-9_]", name) else ""
    after = r"(?![A-Za-z0-9_-])" if re.search(r"[A-Za-z0-9_]\Z", name) else ""
    return f"{before}{re.escape(name)}{after}"


def _is_word(name: str) -> bool:
    words = (*(pattern for _mode, pattern in _MODES), _CHANGE, _STATUS, _RECOVER, _OF_KEYS)
    return any(re.fullmatch(pattern, name, _I) for pattern in words)
