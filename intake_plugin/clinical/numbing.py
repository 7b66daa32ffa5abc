"""Which numbing cream, if any, and when it goes on and comes off.

Only ever one product. Whatever is not known about a caution counts as a matter for a clinician.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.conditions import Known, Truth
from intake_plugin.clinical.course import area_of
from intake_plugin.clinical.protocol import BIRTH_DATE, Area, Caution, NumbingProduct, Protocol, Timeline
from intake_plugin.errors import did_you_mean

Decision = Literal["use", "review", "without", "none"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a stocked product is not simply used: ids of cautions, or "area", "age", "contact"."""

    product_id: str
    effect: Literal["review", "block"]
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NumbingChoice:
    """The one product for a case, with the contact that its cautions leave.

    `decision`: "use" it; "review" by a clinician first (`product` is then the proposal, or None when
    every product is refused); "without" any; "none": the clinic keeps none.
    """

    product: NumbingProduct | None
    contact_min: dt.timedelta | None
    contact_max: dt.timedelta | None
    decision: Decision
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class NumbingPlan:
    """When the cream goes on and comes off, UTC; it may go on from `earliest_on` to `latest_on`."""

    product_id: str
    on: dt.datetime
    off: dt.datetime
    earliest_on: dt.datetime
    where: Literal["clinic", "home"]
    latest_on: dt.datetime


@dataclass(frozen=True, slots=True)
class _Verdict:
    product: NumbingProduct
    contact_max: dt.timedelta
    blocks: tuple[str, ...]
    reviews: tuple[str, ...]

    @property
    def refusal(self) -> Refusal | None:
        if self.blocks:
            return Refusal(self.product.id, "block", self.blocks)
        return Refusal(self.product.id, "review", self.reviews) if self.reviews else None


def choose(
    protocol: Protocol,
    answers: Answers,
    *,
    today: dt.date,
    stock: Sequence[str],
    answered_on: dt.date | None = None,
    healed: bool = False,
) -> NumbingChoice:
    """Choose from the clinic's `stock`, in its order of preference, for a session on `today`.

    The first product without any caution is used; else the first that only needs a clinician's
    review is proposed; else the protocol says whether the case goes to review or goes without.
    `healed` chooses as if the cautions that pass had passed. Raises ValueError when the protocol does
    not know a product in `stock`.
    """
    known = Known(protocol, answers, today=today, answered_on=answered_on)
    return choose_by(known, stock=stock, healed=healed)


def choose_by(known: Known, *, stock: Sequence[str], healed: bool = False) -> NumbingChoice:
    """Choose like `choose`, by what is known of the answers already."""
    protocol = known.protocol
    if not stock:
        return NumbingChoice(None, None, None, "none")
    cautions = [caution for caution in protocol.numbing.cautions if not (healed and caution.heals)]
    truths = [(caution, known.truth(caution.when)) for caution in cautions]
    standing = [(caution, truth) for caution, truth in truths if truth is not False]
    verdicts = [_judge(product, known, standing) for product in _stocked(protocol, stock)]
    refusals = tuple(verdict.refusal for verdict in verdicts if verdict.refusal)
    free = next((verdict for verdict in verdicts if verdict.refusal is None), None)
    if free:
        return _chosen(free, "use", refusals)
    proposed = next((verdict for verdict in verdicts if not verdict.blocks), None)
    if proposed:
        return _chosen(proposed, "review", refusals)
    return NumbingChoice(None, None, None, protocol.numbing.none_allowed, refusals)


def _chosen(verdict: _Verdict, decision: Decision, refusals: tuple[Refusal, ...]) -> NumbingChoice:
    product = verdict.product
    return NumbingChoice(product, product.contact_min, verdict.contact_max, decision, refusals)


def plan(
    choice: NumbingChoice,
    needling_start: dt.datetime,
    *,
    contact: dt.timedelta | None = None,
    home: bool = False,
) -> NumbingPlan | None:
    """Return the times for the product chosen, counted back from the start of the treatment.

    `contact` is the clinic's own contact time, the product's minimum if None; `home` takes effect
    only for a product that may be used at home. None when there is no product. Recompute it
    whenever the appointment moves. Raises ValueError for a time without zone, and for a contact
    shorter or longer than the product and its cautions allow.
    """
    product = choice.product
    if product is None or choice.contact_min is None or choice.contact_max is None:
        return None
    if needling_start.tzinfo is None:
        raise ValueError("The start of the treatment needs a time zone; pass an aware datetime.")
    if contact is None:
        contact = choice.contact_min
    if not choice.contact_min <= contact <= choice.contact_max:
        raise ValueError(
            f"{product.id} stays on for {_minutes(choice.contact_min)} to {_minutes(choice.contact_max)}"
            f" minutes in this case, not {_minutes(contact)}."
        )
    start = needling_start.astimezone(dt.UTC)
    return NumbingPlan(
        product_id=product.id,
        on=start - contact,
        off=start,
        earliest_on=start - choice.contact_max,
        where="home" if home and product.home else "clinic",
        latest_on=start - choice.contact_min,
    )


def home_contact(choice: NumbingChoice, timeline: Timeline, area: Area) -> dt.timedelta | None:
    """Return how long the cream acts when the patient puts it on at home, or None where that cannot be.

    It has to be on the skin before the patient sets out, and still come off in time; and only on an
    area the product allows at home.
    """
    product = choice.product
    if product is None or choice.contact_min is None or choice.contact_max is None or not product.home:
        return None
    if product.home_area_max_cm2 is not None and area.cm2 > product.home_area_max_cm2:
        return None
    contact = max(choice.contact_min, timeline.arrive_without_numbing + timeline.home_travel)
    return contact if contact <= choice.contact_max else None


def _minutes(span: dt.timedelta) -> str:
    return f"{span / dt.timedelta(minutes=1):g}"


def _stocked(protocol: Protocol, stock: Sequence[str]) -> Iterator[NumbingProduct]:
    products = {product.id: product for product in protocol.numbing.products}
    for product_id in stock:
        if product_id not in products:
            hint = did_you_mean(product_id, products)
            raise ValueError(f"The protocol {protocol.id!r} has no numbing product {product_id!r}.{hint}")
        yield products[product_id]


def _judge(product: NumbingProduct, known: Known, standing: Sequence[tuple[Caution, Truth]]) -> _Verdict:
    contact_max = product.contact_max
    blocks: list[str] = []
    reviews: list[str] = []
    for caution, truth in standing:
        effect = caution.effects.get(product.id, "ok")
        if effect == "block" and truth:
            blocks.append(caution.id)
        elif effect != "ok":
            reviews.append(caution.id)
        contact_max = min(contact_max, caution.contact_max.get(product.id, contact_max))
    for limit, within in (("area", _area_within(product, known)), ("age", _old_enough(product, known))):
        if within is None:
            reviews.append(limit)
        elif not within:
            blocks.append(limit)
    if contact_max < product.contact_min:
        blocks.append("contact")
    return _Verdict(product, contact_max, tuple(blocks), tuple(reviews))


def _area_within(product: NumbingProduct, known: Known) -> bool | None:
    if product.area_max_cm2 is None:
        return True
    try:
        return area_of(known.protocol, known.answers).cm2 <= product.area_max_cm2
    except LookupError:
        return None


def _old_enough(product: NumbingProduct, known: Known) -> bool | None:
    if product.age_min is None:
        return True
    age = known.age(BIRTH_DATE)
    return None if age is None else age >= product.age_min
