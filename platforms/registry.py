"""Which platforms there are: a sender is found by being a file in platforms/senders/."""

import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured

from . import senders as senders_package
from .sender import Sender


@cache
def senders() -> dict[str, type[Sender]]:
    """Return the senders by kind, sorted; raise ImproperlyConfigured if two claim one kind."""
    return dict(sorted(find(senders_package).items()))


def find(package: ModuleType) -> dict[str, type[Sender]]:
    """Return the senders that the files of a package define, by kind."""
    found: dict[str, type[Sender]] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for sender in _defined_in(import_module(module.name)):
            if other := found.get(sender.kind):
                raise ImproperlyConfigured(
                    f"{sender.__module__} and {other.__module__} are both senders of the kind "
                    f"{sender.kind!r}; give one of them another."
                )
            found[sender.kind] = sender
    return found


def _defined_in(module: ModuleType) -> Iterator[type[Sender]]:
    for _name, value in inspect.getmembers(module, inspect.isclass):
        if issubclass(value, Sender) and value.__module__ == module.__name__:
            yield value
