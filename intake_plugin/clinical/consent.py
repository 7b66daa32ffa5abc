"""Consent documents: which ones a case needs, and their exact text.

The text that is signed is built here and nowhere else, so that what is shown, hashed and stored
is the same string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.protocol import ConsentDocument, ElementText, NumbingProduct
from intake_plugin.errors import Problem, ProtocolError, did_you_mean

CONSENT_FACTS: Final = frozenset(
    {
        "address",
        "area",
        "clinic",
        "complaints",
        "controller",
        "course",
        "email",
        "emergency",
        "product",
        "product_contact",
        "retention",
        "sessions",
        "telephone",
    }
)
"""The placeholders that a consent text may hold, each in braces."""

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_PARAGRAPHS: Final = re.compile(r"\n[ \t]*\n+")


@dataclass(frozen=True, slots=True)
class RenderedConsent:
    """A consent document as the patient reads it.

    `elements` are pairs of a heading and its paragraphs. `text` is the whole in plain words: title,
    headings, paragraphs, statement, parted by empty lines; `sha256` is the hash of its UTF-8 octets.
    """

    id: str
    version: str
    locale: str
    title: str
    elements: tuple[tuple[str, tuple[str, ...]], ...]
    statement: str
    required: bool
    text: str
    sha256: str


def documents(known: Known, *, product: NumbingProduct | None) -> tuple[ConsentDocument, ...]:
    """Return the documents for what is known of a case, in the protocol's order.

    A document is left out when its condition is certainly false, or when it is about numbing and
    no `product` is planned.
    """
    return tuple(
        document
        for document in known.protocol.consent
        if (product is not None or not document.needs_numbing)
        and (document.when is None or known.truth(document.when) is not False)
    )


def placeholders(text: str) -> Iterator[str]:
    """Yield the name of each placeholder in `text`."""
    return (match[1] for match in _PLACEHOLDER.finditer(text))


def render(
    document: ConsentDocument, known: Known, *, locale: str, facts: Mapping[str, str]
) -> RenderedConsent:
    """Return `document` in words, with `facts` put in for its placeholders.

    An element is left out only when its condition is certainly false. Raises `ProtocolError` that
    lists every placeholder without a fact.
    """
    protocol = known.protocol
    words = protocol.words(locale).consent[document.id]
    elements = tuple(
        words.elements[element.id]
        for element in document.elements
        if element.when is None or known.truth(element.when) is not False
    )
    bare = RenderedConsent(
        id=document.id,
        version=document.version,
        locale=locale,
        title=words.title,
        elements=(),
        statement=words.statement,
        required=document.required,
        text="",
        sha256="",
    )
    rendered, missing = _filled(bare, elements, frozenset(facts.items()))
    if missing:
        where = f"{protocol.id}: consent.{document.id}"
        raise ProtocolError(
            f"Consent {document.id!r}",
            [
                Problem(where, f"There is no fact for {{{name}}}.{did_you_mean(name, facts)}")
                for name in missing
            ],
        )
    return rendered


@lru_cache(maxsize=512)
def _filled(
    bare: RenderedConsent, elements: tuple[ElementText, ...], facts: frozenset[tuple[str, str]]
) -> tuple[RenderedConsent, tuple[str, ...]]:
    """Put the facts into a document and its elements, and name the placeholders that have none.

    Kept, because most patients of a clinic read the same few texts; there is nothing of a person in
    them but what is treated.
    """
    fill = _Filler(dict(facts))
    title, statement = fill(bare.title), fill(bare.statement)
    filled = tuple((fill(each.heading), _paragraphs(fill(each.body))) for each in elements)
    text = "\n\n".join([title, *(part for heading, body in filled for part in (heading, *body)), statement])
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    rendered = replace(bare, title=title, elements=filled, statement=statement, text=text, sha256=sha256)
    return rendered, tuple(fill.missing)


class _Filler:
    """Puts facts in for placeholders, once: braces inside a fact stay as they are."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._facts = facts
        self.missing: dict[str, None] = {}

    def __call__(self, text: str) -> str:
        return _PLACEHOLDER.sub(self._fact, text).strip()

    def _fact(self, match: re.Match[str]) -> str:
        name = match[1]
        if name not in self._facts:
            self.missing[name] = None
            return match[0]
        return self._facts[name]


def _paragraphs(body: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _PARAGRAPHS.split(body.replace("\r\n", "\n")) if part.strip())
