"""Fields of the route's form: lists as lines, JSON that says where it is wrong, targets as rows."""

import json
import math
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .filters import FilterError, compile_filters
from .templating import storable

Choices = list[tuple[Any, Any]]

# Empty rows below those that are filled in; saving gives new ones.
SPARE_ROWS = 2
MAX_ROWS = 20
# Characters of JSON in one line.
LINE = 76


class LinesField(forms.CharField):
    """A list of words, one a line; commas part them, too."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 3, "cols": 40}))
        super().__init__(required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the words, each once, in their order."""
        words = str(value or "").replace(",", "\n").splitlines()
        return list(dict.fromkeys(word for raw in words if (word := raw.strip())))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the list is another one, however it is laid out."""
        return bool((initial or []) != self.to_python(data))


class JSONTextField(forms.CharField):
    """A JSON value as indented text; a mistake is named with its line.

    Cleans to the value; nothing comes to ``empty``. What no database keeps as JSON is refused:
    NaN and Infinity, NUL, halves of characters.
    """

    widget = forms.Textarea

    def __init__(self, *, empty: Any, rows: int = 4, **kwargs: Any) -> None:
        self.empty = empty
        attrs = {"rows": rows, "cols": 60, "spellcheck": "false", "class": "vLargeTextField mono"}
        kwargs.setdefault("widget", forms.Textarea(attrs=attrs))
        super().__init__(required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the value as text; what a person typed stays as it was typed."""
        if isinstance(value, str):
            return value
        return readable_json(value) if value else ""

    def to_python(self, value: Any) -> Any:
        """Return the value; raise ValidationError."""
        return read_json(value) if value and value.strip() else type(self.empty)(self.empty)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the value is another one, however it is laid out."""
        try:
            return bool((initial or self.empty) != self.to_python(data))
        except ValidationError:
            return True


class FiltersField(JSONTextField):
    """The filters of a route as JSON; a fault is named with its path."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Filters"))
        kwargs.setdefault(
            "help_text",
            _(
                "A JSON list of conditions; what does not meet all of them is ignored: "
                '[{"field": "action", "in": ["opened", "reopened"]}]. Empty: no filter.'
            ),
        )
        super().__init__(empty=[], rows=6, **kwargs)

    def to_python(self, value: Any) -> Any:
        """Return the filters; raise ValidationError that begins with the path of the fault."""
        spec = super().to_python(value)
        try:
            compile_filters(spec)
        except FilterError as error:
            raise ValidationError(str(error)) from None
        return spec


def readable_json(value: object, indent: str = "") -> str:
    """Return a value as JSON in which what fits on a line stands on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= LINE or not isinstance(value, dict | list) or not value:
        return flat
    inner = indent + "  "
    if isinstance(value, list):
        items = [readable_json(item, inner) for item in value]
        first, last = "[", "]"
    else:
        items = [
            f"{json.dumps(key, ensure_ascii=False)}: {readable_json(item, inner)}"
            for key, item in value.items()
        ]
        first, last = "{", "}"
    lines = ",\n".join(inner + item for item in items)
    return f"{first}\n{lines}\n{indent}{last}"


def read_json(text: str) -> Any:
    """Return the value of a text of JSON; raise ValidationError that says where it is wrong."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        words = {"line": error.lineno, "column": error.colno, "what": error.msg}
        raise ValidationError(
            _("Not JSON: line %(line)s, column %(column)s: %(what)s."), params=words
        ) from None
    except (ValueError, RecursionError):
        raise ValidationError(_("Not JSON that could be stored.")) from None
    if not _is_storable(value):
        raise ValidationError(_("A text or number in it can't be stored."))
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _is_storable(value: object) -> bool:
    match value:
        case str():
            return storable(value) == value
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_storable, value)) and all(map(_is_storable, value.values()))
        case list():
            return all(map(_is_storable, value))
    return True


class TargetsWidget(forms.Widget):
    """Targets as rows of a place and where on it; empty rows wait below."""

    choices: Choices = []  # noqa: RUF012  replaced by every form

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the rows, those that are filled in first."""
        filled = [row for row in value or [] if isinstance(row, dict)]
        rows = [*filled, *[{}] * SPARE_ROWS][:MAX_ROWS]
        inner = format_html_join(
            "", '<div class="target">{}{}</div>', (self._row(name, *row) for row in enumerate(rows))
        )
        return format_html('<div class="targets">{}</div>', inner)

    def _row(self, name: str, number: int, row: Mapping[str, Any]) -> tuple[str, str]:
        deliver, extra = row.get("deliver", ""), row.get("deliver_extra") or ""
        if not isinstance(extra, str):
            extra = json.dumps(extra, ensure_ascii=False)
        at, on = f"{name}_{number}_deliver", f"{name}_{number}_extra"
        # The first target has fields of its own.
        label = _("Target %(number)s") % {"number": number + 2}
        where = _("%(target)s: where on it, as JSON") % {"target": label}
        select = forms.Select(choices=[("", "–"), *self._choices_with(deliver)])
        text = forms.TextInput(attrs={"spellcheck": "false", "placeholder": '{"chat_id": "…"}'})
        return (
            select.render(at, deliver, {"id": f"id_{at}", "aria-label": label}),
            text.render(on, extra, {"id": f"id_{on}", "aria-label": where}),
        )

    def _choices_with(self, current: str) -> Choices:
        # What is stored stays among them, even if its channel is gone.
        known = {key for _label, group in self.choices for key, _word in group}
        gone = [(current, current)] if current and current not in known else []
        return [*gone, *self.choices]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        """Return the rows as they were sent, without those that are wholly empty."""
        rows = []
        for number in range(MAX_ROWS):
            deliver = data.get(f"{name}_{number}_deliver", "").strip()
            extra = data.get(f"{name}_{number}_extra", "").strip()
            if deliver or extra:
                rows.append({"deliver": deliver, "deliver_extra": extra})
        return rows

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Return whether no row was sent at all, as where the form does not show them."""
        return f"{name}_0_deliver" not in data

    def id_for_label(self, id_: str) -> str:
        """Return the id of the first row, which a click on the label reaches."""
        return f"{id_}_0_deliver" if id_ else id_


class TargetsField(forms.Field):
    """Further targets; cleans to ``[{"deliver": name, "deliver_extra": {…}}, …]``."""

    widget = TargetsWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)

    def to_python(self, value: Any) -> list[dict[str, Any]]:
        """Return the targets; raise ValidationError that names the row."""
        found, faults = [], []
        for number, row in enumerate(value or [], start=2):
            try:
                found.append({"deliver": row["deliver"], "deliver_extra": self._extra(row)})
            except ValidationError as error:
                words = {"number": number, "fault": " ".join(error.messages)}
                faults.append(_("Target %(number)s: %(fault)s") % words)
        if faults:
            raise ValidationError(faults)
        return found

    def _extra(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if not row["deliver"]:
            raise ValidationError(_("choose where it goes."))
        extra = row["deliver_extra"]
        value = read_json(extra) if isinstance(extra, str) and extra else extra or {}
        if not isinstance(value, dict):
            raise ValidationError(_('Give a JSON object, as {"chat_id": "42"}.'))
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the targets are others, however they are laid out."""
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True
