"""Questions of agents: what a form may hold, and the form that a person fills in."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import escape
from django.utils.translation import gettext as _

TITLE_LIMIT = 200  # characters
TEXT_LIMIT = 10_000
LABEL_LIMIT = 200
FIELDS_LIMIT = 20
OPTIONS_LIMIT = 50
ANSWER_LIMIT = 10_000
NUMBER_LIMIT = 1e15  # beyond it a float no longer counts in ones

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TYPES = ("choice", "text", "boolean", "number")
COMMON = frozenset({"name", "type", "label", "help", "required"})
OF_TYPE = {
    "choice": frozenset({"options"}),
    "text": frozenset({"max_length", "multiline"}),
    "boolean": frozenset[str](),
    "number": frozenset({"min", "max", "integer"}),
}

Problems = dict[str, str]


def check_question(title: Any, text: Any, fields: Any) -> dict[str, Any]:
    """Return a form in its full spelling: ``{"title", "text", "fields": [{…}, …]}``.

    Raises ValidationError, by the place of each fault (``fields[2].options``).
    """
    problems: Problems = {}
    checked = {
        "title": _text(title, "title", TITLE_LIMIT, problems, required=True),
        "text": _text(text, "text", TEXT_LIMIT, problems),
        "fields": _fields(fields, problems),
    }
    if problems:
        raise ValidationError(problems)
    return checked


def _fields(value: Any, problems: Problems) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= FIELDS_LIMIT:
        problems["fields"] = _("A list of 1 to %(most)d fields is needed.") % {"most": FIELDS_LIMIT}
        return []
    checked = [_field(item, f"fields[{at}]", problems) for at, item in enumerate(value)]
    names: set[str] = set()
    for at, field in enumerate(checked):
        if field.get("name") in names:
            problems[f"fields[{at}].name"] = _("Two fields have this name.")
        names.add(field.get("name", ""))
    return checked


def _field(value: Any, at: str, problems: Problems) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems[at] = _("A field is an object.")
        return {}
    kind, name = value.get("type"), value.get("name")
    if kind not in TYPES:
        problems[f"{at}.type"] = _("The type is one of: %(types)s.") % {"types": ", ".join(TYPES)}
        return {}
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems[f"{at}.name"] = _(
            "A name has 1 to 40 small letters, digits and underscores, a letter first."
        )
        return {}
    for key in value.keys() - COMMON - OF_TYPE[kind]:
        problems[f"{at}.{str(key)[:40]}"] = _("A field of type %(type)s has no such key.") % {
            "type": kind
        }
    return {
        "name": name,
        "type": kind,
        "label": _text(value.get("label", name), f"{at}.label", LABEL_LIMIT, problems) or name,
        "help": _text(value.get("help", ""), f"{at}.help", LABEL_LIMIT, problems),
        "required": _flag(value.get("required", False), f"{at}.required", problems),
    } | _details[kind](value, at, problems)


def _choice(value: Mapping[str, Any], at: str, problems: Problems) -> dict[str, Any]:
    options, checked = value.get("options"), []
    if not isinstance(options, list) or not 1 <= len(options) <= OPTIONS_LIMIT:
        problems[f"{at}.options"] = _("A choice has a list of 1 to %(most)d options.") % {
            "most": OPTIONS_LIMIT
        }
        return {}
    for number, option in enumerate(options):
        place = f"{at}.options[{number}]"
        both = option if isinstance(option, dict) else {"value": option}
        text = _text(both.get("value"), f"{place}.value", LABEL_LIMIT, problems, required=True)
        label = _text(both.get("label", text), f"{place}.label", LABEL_LIMIT, problems)
        checked.append({"value": text, "label": label or text})
        for key in both.keys() - {"value", "label"}:
            problems[f"{place}.{str(key)[:40]}"] = _("An option has a value and a label.")
    if len({option["value"] for option in checked}) < len(checked):
        problems.setdefault(f"{at}.options", _("Two options have the same value."))
    return {"options": checked}


def _words(value: Mapping[str, Any], at: str, problems: Problems) -> dict[str, Any]:
    length = value.get("max_length", 2000)
    if type(length) is not int or not 1 <= length <= ANSWER_LIMIT:
        problems[f"{at}.max_length"] = _("This is a whole number from 1 to %(most)d.") % {
            "most": ANSWER_LIMIT
        }
    multiline = _flag(value.get("multiline", False), f"{at}.multiline", problems)
    return {"max_length": length, "multiline": multiline}


def _number(value: Mapping[str, Any], at: str, problems: Problems) -> dict[str, Any]:
    bounds = {key: value[key] for key in ("min", "max") if value.get(key) is not None}
    for key, bound in bounds.items():
        if not _is_number(bound):
            problems[f"{at}.{key}"] = _("This is a number.")
    if not problems and bounds.get("min", -math.inf) > bounds.get("max", math.inf):
        problems[f"{at}.min"] = _("The least is above the most.")
    return bounds | {"integer": _flag(value.get("integer", False), f"{at}.integer", problems)}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= NUMBER_LIMIT


_details: dict[str, Callable[[Mapping[str, Any], str, Problems], dict[str, Any]]] = {
    "choice": _choice,
    "text": _words,
    "number": _number,
    "boolean": lambda value, at, problems: {},
}


def _text(value: Any, at: str, limit: int, problems: Problems, *, required: bool = False) -> str:
    # What no database and no page can hold: NUL, and halves of a pair.
    if not isinstance(value, str) or "\0" in value or re.search("[\ud800-\udfff]", value):
        problems[at] = _("This is a text.")
    elif required and not value.strip():
        problems[at] = _("This is a text that is not empty.")
    elif len(value) > limit:
        problems[at] = _("This has at most %(limit)d characters.") % {"limit": limit}
    else:
        return value.strip()
    return ""


def _flag(value: Any, at: str, problems: Problems) -> bool:
    if not isinstance(value, bool):
        problems[at] = _("This is true or false.")
    return value is True


# What the person sees ----------------------------------------------------------------------


def answer_form(question: Mapping[str, Any]) -> type[forms.Form]:
    """Return the form class of a question that `check_question` made.

    Its ``cleaned_data`` is the answer: a text, a truth or a number per name; None for a number
    that was left out.
    """
    fields = {field["name"]: _form_field(field) for field in question["fields"]}
    return type("AnswerForm", (forms.Form,), fields)


def _form_field(field: Mapping[str, Any]) -> forms.Field:
    common: dict[str, Any] = {
        "label": field["label"],
        # Pages of the admin put help texts out as they are.
        "help_text": escape(field["help"]),
        "required": field["required"],
    }
    match field["type"]:
        case "choice":
            options = [(option["value"], option["label"]) for option in field["options"]]
            if not field["required"]:
                options.append(("", _("No answer")))
            return forms.ChoiceField(choices=options, widget=forms.RadioSelect, **common)
        case "text":
            widget = forms.Textarea(attrs={"rows": 5}) if field["multiline"] else forms.TextInput()
            return forms.CharField(max_length=field["max_length"], widget=widget, **common)
        case "boolean":
            return forms.BooleanField(**common)
        case _:
            number = forms.IntegerField if field["integer"] else forms.FloatField
            return number(
                min_value=field.get("min", -NUMBER_LIMIT),
                max_value=field.get("max", NUMBER_LIMIT),
                widget=forms.NumberInput(attrs={"step": 1 if field["integer"] else "any"}),
                **common,
            )


def in_words(question: Mapping[str, Any], answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return an answer as pairs of label and text, as the person saw them."""
    return [
        (field["label"], _in_words(field, answer.get(field["name"])))
        for field in question["fields"]
    ]


def _in_words(field: Mapping[str, Any], value: Any) -> str:
    if value is None or value == "":
        return "–"
    if field["type"] == "boolean":
        return _("yes") if value else _("no")
    labels = {option["value"]: option["label"] for option in field.get("options", ())}
    return str(labels.get(value, value))
