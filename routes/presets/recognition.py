"""Which source a request comes from, by its headers alone."""

from collections.abc import Mapping, Sequence

from .record import IN_AUTHORIZATION, Preset, Scheme

# Their secret is a key that anyone may know. Were such a route left to recognise its sender, the
# same key would serve a forger for a keyed hash; so a route must name them.
_PUBLIC_KEYS = frozenset({Scheme.ED25519, Scheme.ECDSA})

# The first word of Authorization says which of these it is (RFC 9110).
_FIRST_WORDS = {Scheme.BEARER: "bearer ", Scheme.BASIC: "basic "}


class Recognition:
    """The sources, indexed by a header that each must have."""

    __slots__ = ("_by_header", "_signatures")

    def __init__(self, presets: Sequence[Preset]) -> None:
        self._by_header: dict[str, list[tuple[int, Preset]]] = {}
        for rank, preset in enumerate(presets):
            if preset.auto and preset.marks and preset.scheme not in _PUBLIC_KEYS:
                self._by_header.setdefault(preset.marks[0], []).append((rank, preset))
        self._signatures = frozenset(
            header
            for preset in presets
            if preset.scheme not in IN_AUTHORIZATION
            for header in (preset.header, *preset.other_headers)
            if header
        )

    def preset_of(self, headers: Mapping[str, str]) -> Preset | None:
        """Return the first source in their order whose marks are all there, None without one.

        An empty header counts as absent. The source found commits: if its signature then fails,
        no weaker one is tried. What is in ``Authorization`` counts only where no signature is.
        """
        best, found = 0, None
        for header in headers:
            for rank, preset in self._by_header.get(header, ()):
                if (found is None or rank < best) and _is_marked(preset, headers):
                    best, found = rank, preset
        if found is not None and found.scheme in IN_AUTHORIZATION and self._signed(headers):
            return None
        return found

    def _signed(self, headers: Mapping[str, str]) -> bool:
        return any(value and name in self._signatures for name, value in headers.items())


def _is_marked(preset: Preset, headers: Mapping[str, str]) -> bool:
    for name in preset.marks:
        if not headers.get(name):
            return False
    for name in preset.recognised_without:
        if headers.get(name):
            return False
    for name, beginning in preset.recognised_values.items():
        if not headers.get(name, "").lower().startswith(beginning):
            return False
    word = _FIRST_WORDS.get(preset.scheme)
    return word is None or headers.get(preset.header, "").lower().startswith(word)
