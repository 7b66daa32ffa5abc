"""The shape of a clinic's profile file, and what can be wrong in it.

Nothing here reads a file or knows the time; `intake_plugin.loading` does the reading.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from intake_plugin.calendars.busy import Limits
from intake_plugin.clinical.changes import CourseChange, ProductChange, effective, fingerprint
from intake_plugin.clinical.consent import CONSENT_FACTS
from intake_plugin.clinical.course import length
from intake_plugin.clinical.protocol import NumbingProduct, Outcome, Protocol, Wait
from intake_plugin.errors import did_you_mean
from intake_plugin.reading import Kind, Wrong
from intake_plugin.settings import (
    Approval,
    BookingPolicy,
    BusySource,
    CalendarPolicy,
    Clinic,
    Closure,
    Contact,
    Hours,
    MailPolicy,
    NumbingPolicy,
    Resource,
    Treatment,
)

Found = Iterator[tuple[str, str]]
"""Place within the profile, and what is wrong there."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ID_SLIP: Final = "may hold only small letters, digits, '-' and '_', at most 64"
_SPAN: Final = re.compile(r"(\d\d:\d\d)\s*[-\u2013]\s*(\d\d:\d\d)")
_DAY_END: Final = {"24:00": "00:00"}
"""The end of a day as ISO 8601 writes it, and as `datetime` does."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DAY: Final = dt.timedelta(days=1)
_EXTENSIONS: Final = 10
"""How often WCAG 2.2, success criterion 2.2.1, wants a time limit extensible."""
_LONG: Final = dt.timedelta(hours=20)
"""A limit longer than this needs no extension, by the same criterion."""
_NO_TIME: Final = dt.timedelta()
_SHORTEST_DAY: Final = dt.timedelta(hours=23)
"""The day on which clocks go forward: what is taken is looked for from the day before a date on."""
_MIDNIGHT: Final = dt.time()
_WAIT_MOST: Final = Wait(months=120)
_HORIZON_MOST: Final = Wait(months=24)
_BLOCK_MOST: Final = Wait(months=24)
_SESSIONS_MOST: Final = 50
_CALENDAR_MOST: Final = dt.timedelta(days=366)
"""Bounds against a slip of the pen; whatever lies within them is the clinic's to decide."""


@dataclass(frozen=True, slots=True)
class DayHours:
    """The opening intervals of one weekday, local time."""

    spans: tuple[tuple[dt.time, dt.time], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekHours:
    """Opening hours by weekday, such as `mon = "09:00-12:30, 13:30-24:00"`; a day left out is closed."""

    mon: DayHours = DayHours()
    tue: DayHours = DayHours()
    wed: DayHours = DayHours()
    thu: DayHours = DayHours()
    fri: DayHours = DayHours()
    sat: DayHours = DayHours()
    sun: DayHours = DayHours()

    def by_weekday(self) -> Hours:
        """Return the intervals by ISO weekday; a closed day is not a key."""
        days = enumerate((getattr(self, day.name) for day in fields(self)), start=1)
        return {weekday: day.spans for weekday, day in days if day.spans}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureEntry:
    """Closed days; `last` may be left out for a single day."""

    first: dt.date
    last: dt.date | None = None
    reason: str = ""

    def closure(self) -> Closure:
        """Return the closure with both ends."""
        return Closure(first=self.first, last=self.last or self.first, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceEntry:
    """A practitioner or a room in the profile."""

    id: str
    kind: Literal["practitioner", "room"]
    name: str
    treatments: tuple[str, ...] = ()
    hours: WeekHours | None = None
    closures: tuple[ClosureEntry, ...] = ()
    lanes: int = 1
    before: dt.timedelta = _NO_TIME
    after: dt.timedelta = _NO_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyEntry:
    """A calendar kept elsewhere in the profile; without an id it has its resource's."""

    resource: str
    source: str
    stale_after: dt.timedelta
    stale: Literal["block", "warn"]
    ahead: Wait
    within: dt.timedelta
    octets: int
    entries: int
    instances: int
    redirects: int
    id: str = ""
    private_addresses: bool = False

    @property
    def key(self) -> str:
        """The id of the calendar, unique in its clinic."""
        return self.id or self.resource

    def located(self, folder: Path) -> BusySource:
        """Return the calendar, its path begun at the profile's folder."""
        address = re.sub(r"^webcal:", "https:", self.source)
        return BusySource(
            id=self.key,
            resource=self.resource,
            source=address if _SCHEME.match(address) else str(folder / address),
            stale_after=self.stale_after,
            stale=self.stale,
            ahead=self.ahead,
            within=self.within,
            limits=Limits(octets=self.octets, entries=self.entries, instances=self.instances),
            redirects=self.redirects,
            private_addresses=self.private_addresses,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentEntry:
    """A treatment in the profile: which protocol, and what the clinic changes."""

    protocol: str
    waits: Mapping[str, Wait] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    rules_on: tuple[str, ...] = ()
    rules_off: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    courses: Mapping[str, CourseChange] = field(default_factory=dict)
    products: Mapping[str, ProductChange] = field(default_factory=dict)
    numbing: NumbingPolicy = field(default_factory=NumbingPolicy)
    retired: bool = False
    approval: Approval | None = None
    before: dt.timedelta = _NO_TIME
    after: dt.timedelta = _NO_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A clinic's profile as written."""

    id: str
    name: str
    zone: ZoneInfo
    languages: tuple[str, ...]
    contact: Contact
    hours: WeekHours
    closures: tuple[ClosureEntry, ...] = ()
    resources: tuple[ResourceEntry, ...] = ()
    booking: BookingPolicy
    calendar: CalendarPolicy
    busy: tuple[BusyEntry, ...] = ()
    mail: MailPolicy | None = None
    treatments: tuple[TreatmentEntry, ...]
    base_template: str = "base.html"
    retention: Wait
    consent_facts: Mapping[str, str] = field(default_factory=dict)
    marketing_name: str = ""


def _zone(name: Any) -> ZoneInfo:
    zones = available_timezones()
    if name not in zones:
        hint = did_you_mean(name, zones) or " Write a name such as 'Europe/London'."
        raise Wrong(f"There is no time zone {name!r}.{hint}")
    return ZoneInfo(name)


def _day_hours(text: Any) -> DayHours:
    if not isinstance(text, str):
        raise Wrong(f'{text!r} is not hours; write text such as "09:00-12:30, 13:30-17:00".')
    spans = tuple(_span(part.strip()) for part in text.split(",") if part.strip())
    for (_, closes), (opens, _) in pairwise(spans):
        if opens < closes or closes == _MIDNIGHT:
            raise Wrong(f"{text!r} overlaps or is out of order: {opens:%H:%M} is before {closes:%H:%M}.")
    return DayHours(spans)


def _span(text: str) -> tuple[dt.time, dt.time]:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise Wrong(f'{text!r} is not an interval of hours; write "09:00-12:30".')
    try:
        opens, closes = (dt.time.fromisoformat(time) for time in (match[1], _DAY_END.get(match[2], match[2])))
    except ValueError:
        raise Wrong(f"{text!r} has a time that does not exist.") from None
    if opens >= closes != _MIDNIGHT:
        raise Wrong(f"{text!r} ends before it begins.")
    return opens, closes


def _clock(text: Any) -> dt.time:
    try:
        time = text if isinstance(text, dt.time) else dt.time.fromisoformat(text)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is not None:
        raise Wrong(f"{text!r} is not a local time of day; write '09:00'.")
    return time


KINDS: Final[Mapping[type, Kind]] = {
    ZoneInfo: Kind(_zone, "UTC"),
    DayHours: Kind(_day_hours, ""),
    dt.time: Kind(_clock, "00:00"),
}


def problems(profile: Profile, protocols: Mapping[str, Protocol | None]) -> Found:
    """Yield what is wrong in `profile`; `protocols` are by the name under which a treatment asks for one.

    A protocol that could not be read is None, and its treatment is not checked against it.
    """
    known = {protocol.id for protocol in protocols.values() if protocol}
    yield from _identity(profile)
    yield from _discreet(profile, protocols.values())
    yield from _hours(profile)
    yield from _booking(profile.booking)
    yield from _calendar(profile.calendar)
    if profile.mail:
        yield from _under("mail", _mail(profile.mail))
    yield from _resources(profile, known, complete=all(protocols.values()))
    yield from _busy(profile)
    listed = [entry.protocol for entry in profile.treatments]
    yield from _twice("treatments", listed)
    if not listed:
        yield "treatments", "The clinic offers no treatment; add [[treatments]] with a protocol."
    for entry in profile.treatments:
        protocol = protocols[entry.protocol]
        if protocol is not None:
            yield from _under(f"treatments.{entry.protocol}", _treatment(entry, protocol))
    named = [(entry.protocol, protocols[entry.protocol]) for entry in profile.treatments]
    visits = [(entry, protocol) for entry in profile.treatments if (protocol := protocols[entry.protocol])]
    yield from _buffers(profile, visits)
    files = {name: protocol.id for name, protocol in named if protocol is not None}
    if len(set(files.values())) < len(files):
        same = ", ".join(files)
        yield (
            "treatments",
            f"Of {same} two files have the same protocol id; give the clinic's own an id of its own.",
        )


def _under(place: str, found: Found) -> Found:
    return ((f"{place}.{inner}", what) for inner, what in found)


def _twice(place: str, ids: Iterable[str]) -> Found:
    for name, count in Counter(ids).items():
        if count > 1:
            yield f"{place}.{name}", f"{name!r} stands here {count} times."


def _unknown(place: str, names: Iterable[str], known: Collection[str], kind: str) -> Found:
    for name in names:
        if name not in known:
            yield f"{place}.{name}", f"There is no {kind} {name!r}.{did_you_mean(name, known)}"


def _identity(profile: Profile) -> Found:
    if not _ID.fullmatch(profile.id):
        yield "id", f"The id {profile.id!r} {_ID_SLIP}."
    for place, text in (("name", profile.name), ("base_template", profile.base_template)):
        if not text.strip():
            yield place, "This is empty."
    if not profile.languages:
        yield "languages", 'Name at least one language, such as ["en"].'
    yield from _twice("languages", profile.languages)
    for part in fields(Contact):
        if not getattr(profile.contact, part.name).strip():
            yield f"contact.{part.name}", "This is empty; patients are told to use it."
    if "@" not in profile.contact.email:
        yield "contact.email", f"{profile.contact.email!r} is not an e-mail address."
    if profile.retention == Wait():
        yield "retention", "Records must be kept for some time; write a wait such as 'P8Y'."
    yield from _unknown("consent_facts", profile.consent_facts, CONSENT_FACTS, "fact")


def _discreet(profile: Profile, protocols: Iterable[Protocol | None]) -> Found:
    """Yield a treatment's name where calendars would show it to whoever looks at a lock screen."""
    treatments = {texts.title for protocol in protocols if protocol for texts in protocol.texts.values()}
    for title in sorted(treatments):
        if title.casefold() in profile.marketing_name.casefold():
            yield "marketing_name", f"Others see it in calendars, and {title!r} tells what for; leave it out."


def _hours(profile: Profile) -> Found:
    if not profile.hours.by_weekday():
        yield "hours", "The clinic is never open."
    yield from _closures("closures", profile.closures)


def _closures(place: str, closures: Iterable[ClosureEntry]) -> Found:
    for index, entry in enumerate(closures):
        if entry.last is not None and entry.last < entry.first:
            yield f"{place}[{index}]", f"It ends on {entry.last}, before it begins on {entry.first}."


def _booking(booking: BookingPolicy) -> Found:
    if booking.grid <= _NO_TIME or _DAY % booking.grid:
        yield "booking.grid", "The grid must divide a day, so that every day has the same times: 'PT15M'."
    if booking.hold <= _NO_TIME:
        yield "booking.hold", "Chosen times are held for some time, so that nobody loses them while reading."
    elif booking.hold_most < booking.hold * (1 + _EXTENSIONS) and booking.hold_most < _LONG:
        what = f"A patient must be able to extend a time limit {_EXTENSIONS} times (WCAG 2.2, 2.2.1)"
        yield "booking.hold_most", f"{what}; write at least {1 + _EXTENSIONS} times 'hold', or 'PT20H'."
    if booking.horizon == Wait():
        yield "booking.horizon", "With no horizon nothing can be booked; write a wait such as 'P3M'."
    elif _is_longer(booking.horizon, _HORIZON_MOST):
        yield "booking.horizon", f"{booking.horizon} is too far ahead; write at most {_HORIZON_MOST}."
    elif booking.notice >= length(booking.horizon) - length(Wait()):
        yield "booking.notice", f"Nothing lies between the notice and the horizon {booking.horizon}."
    if booking.block_most == Wait() or _is_longer(booking.block_most, _BLOCK_MOST):
        yield "booking.block_most", f"A block lasts some time, and at most {_BLOCK_MOST}; write 'P12M'."


def _calendar(calendar: CalendarPolicy) -> Found:
    if calendar.entry <= _NO_TIME:
        yield "calendar.entry", "An entry of no length is shown by no calendar; write 'PT15M'."
    for name in ("prepare", "ahead", "entry", "keep_cancelled", "refresh", "max_age"):
        if getattr(calendar, name) > _CALENDAR_MOST:
            yield f"calendar.{name}", f"This is too long; write at most 'P{_CALENDAR_MOST.days}D'."
    if calendar.refresh <= _NO_TIME:
        yield "calendar.refresh", "A subscribed calendar has to wait before it asks again; write 'PT6H'."


def _mail(mail: MailPolicy) -> Found:
    for place, address in (("sender", mail.sender), ("notices", mail.notices)):
        if not (_MAILBOX.fullmatch(address) or (place == "notices" and not address)):
            yield place, f"{address!r} is not the address of a mailbox; write it as 'desk@example.org'."
    if not mail.name.isprintable():
        yield "name", "A name is one line of text."
    for place in ("retry_after", "retry_most", "give_up_after", "keep_sent"):
        if getattr(mail, place) <= _NO_TIME:
            yield place, "This must be some time, such as 'PT1H'."
    if mail.retry_most < mail.retry_after:
        yield "retry_most", f"It is shorter than the first wait, {mail.retry_after}."
    for lead, count in Counter(mail.reminders).items():
        if lead <= _NO_TIME:
            yield "reminders", "A reminder comes some time before the session; write ['P2D']."
        if count > 1:
            yield "reminders", f"The reminder {lead} before a session stands here {count} times."


def _resources(profile: Profile, known: Collection[str], *, complete: bool) -> Found:
    if not profile.resources:
        yield "resources", "The clinic has no practitioner and no room; add at least one [[resources]]."
    yield from _twice("resources", (resource.id for resource in profile.resources))
    for resource in profile.resources:
        place = f"resources.{resource.id}"
        if not _ID.fullmatch(resource.id):
            yield place, f"The id {resource.id!r} {_ID_SLIP}."
        if resource.lanes < 1:
            yield f"{place}.lanes", "A resource holds at least one session at once."
        if complete:
            yield from _unknown(f"{place}.treatments", resource.treatments, known, "treatment")
        yield from _closures(f"{place}.closures", resource.closures)
    if complete:
        yield from _served(profile, known)


def _served(profile: Profile, known: Collection[str]) -> Found:
    for kind in dict.fromkeys(resource.kind for resource in profile.resources):
        for protocol_id in known:
            serving = (
                resource
                for resource in profile.resources
                if resource.kind == kind and (not resource.treatments or protocol_id in resource.treatments)
            )
            if not any(serving):
                yield "resources", f"No {kind} serves {protocol_id!r}, so it could never be booked."


def _busy(profile: Profile) -> Found:
    for key, count in Counter(entry.key for entry in profile.busy).items():
        if count > 1:
            yield f"busy.{key}", f"{key!r} stands here {count} times; give each calendar an id of its own."
    resources = [resource.id for resource in profile.resources]
    for index, entry in enumerate(profile.busy):
        place = f"busy.{entry.id}" if entry.id else f"busy[{index}]"
        yield from _unknown(f"{place}.resource", [entry.resource], resources, "resource")
        if entry.id and not _ID.fullmatch(entry.id):
            yield place, f"The id {entry.id!r} may hold only small letters, digits, '-' and '_'."
        yield from _under(place, _busy_source(entry))
        yield from _under(place, _busy_bounds(entry))


def _busy_bounds(entry: BusyEntry) -> Found:
    for name in ("octets", "entries", "instances"):
        if getattr(entry, name) < 1:
            yield name, "With this limit nothing could be read."
    for name in ("stale_after", "within"):
        if getattr(entry, name) <= _NO_TIME:
            yield name, "This must be some time, such as 'PT6H'."
    if entry.ahead == Wait():
        yield "ahead", "Entries are kept for some time ahead; write a wait such as 'P18M'."
    if entry.redirects < 0:
        yield "redirects", "Write 0 for none."


def _busy_source(entry: BusyEntry) -> Found:
    scheme = _SCHEME.match(entry.source)
    if not entry.source.strip():
        yield "source", "This is empty; write an https address or the path of a file."
    elif scheme and scheme[0].lower() == "http:" and not entry.private_addresses:
        yield "source", "Anybody on the way can read and change what comes over http; write https."
    elif scheme and scheme[0].lower() not in {"https:", "http:", "webcal:"}:
        yield "source", f"{scheme[0]!r} is no way to read a calendar; write an https address or a path."


def _treatment(entry: TreatmentEntry, protocol: Protocol) -> Found:
    rules = [rule.id for rule in protocol.rules]
    offered = [
        option.id
        for question in protocol.questions.values()
        for option in question.options
        if option.optional
    ]
    yield from _unknown("waits", entry.waits, protocol.waits, "wait")
    yield from _unknown("limits", entry.limits, protocol.limits, "limit")
    yield from _unknown("rules_on", entry.rules_on, rules, "rule")
    yield from _unknown("rules_off", entry.rules_off, rules, "rule")
    yield from _unknown("offers", entry.offers, offered, "optional option")
    yield from _unknown("courses", entry.courses, [course.id for course in protocol.courses], "course")
    products = {product.id: product for product in protocol.numbing.products}
    yield from _unknown("products", entry.products, products, "numbing product")
    for name in set(entry.rules_on) & set(entry.rules_off):
        yield f"rules_on.{name}", f"The rule {name!r} is switched both on and off."
    yield from _out_of_bounds(entry)
    yield from _loosened(entry, protocol)
    yield from _under("numbing", _numbing(entry, protocol))
    if entry.approval and not _SHA256.fullmatch(entry.approval.fingerprint):
        yield "approval.fingerprint", "This is not a fingerprint of 64 hexadecimal digits."


def _buffers(profile: Profile, treatments: Sequence[tuple[TreatmentEntry, Protocol]]) -> Found:
    """Yield each resource that a session could take for longer than is looked for when times are offered."""
    for resource in profile.resources:
        visits = [
            (max(resource.before, entry.before), _longest_visit(protocol), max(resource.after, entry.after))
            for entry, protocol in treatments
            if not resource.treatments or protocol.id in resource.treatments
        ]
        longest = max((sum(parts, _NO_TIME) for parts in visits), default=_NO_TIME)
        # What a new session keeps free before it may reach back into what another keeps free after it.
        if max((before for before, _, _ in visits), default=_NO_TIME) + longest > _SHORTEST_DAY:
            what = f"With its buffers and its treatments' a session takes {longest} of it"
            yield (
                f"resources.{resource.id}",
                f"{what}. That and one more 'before' are at most {_SHORTEST_DAY}; write closures for pauses.",
            )


def _longest_visit(protocol: Protocol) -> dt.timedelta:
    """Return how long a visit can take at most, the cream included."""
    timeline = protocol.timeline
    cream = max((product.contact_max for product in protocol.numbing.products), default=_NO_TIME)
    lead = max(timeline.arrive_before_numbing + cream, timeline.arrive_without_numbing)
    return lead + max((area.treatment for area in protocol.areas), default=_NO_TIME) + timeline.aftercare


def _is_longer(wait: Wait, most: Wait) -> bool:
    try:
        return length(wait) > length(most)
    except (OverflowError, ValueError):
        return True  # it ends after the last year that a date can have


def _out_of_bounds(entry: TreatmentEntry) -> Found:
    waits = [(f"waits.{name}", wait) for name, wait in entry.waits.items()]
    for name, change in entry.courses.items():
        interval, sessions = change.interval, change.sessions
        waits += [(f"courses.{name}.interval", interval.max)] if interval else []
        if sessions and max(sessions.usual, sessions.max) > _SESSIONS_MOST:
            yield f"courses.{name}.sessions", f"A course has at most {_SESSIONS_MOST} sessions."
    for place, wait in waits:
        if _is_longer(wait, _WAIT_MOST):
            yield place, f"{wait} is too long; write at most {_WAIT_MOST}."


def _loosened(entry: TreatmentEntry, protocol: Protocol) -> Found:
    """Yield what would make the protocol milder where only stricter is allowed."""
    locked = {rule.id for rule in protocol.rules if rule.outcome is Outcome.STOP and not rule.override}
    for name in sorted(locked & set(entry.rules_off)):
        yield f"rules_off.{name}", f"{name!r} stops a patient whatever the clinic decides; it stays on."
    for name, limit in entry.limits.items():
        if limit < protocol.limits.get(name, limit):
            yield (
                f"limits.{name}",
                f"{limit} is below the protocol's {protocol.limits[name]}; raise it or leave it.",
            )
    for product in protocol.numbing.products:
        change = entry.products.get(product.id)
        for field_name in _milder(product, change) if change else ():
            own, protocols = getattr(change, field_name), getattr(product, field_name)
            what = f"{own} is milder than the protocol's {protocols}; a clinic may only be stricter."
            yield f"products.{product.id}.{field_name}", what


def _milder(product: NumbingProduct, change: ProductChange) -> Iterator[str]:
    """Yield each limit that would allow more than the protocol does."""
    for name, stricter in (
        ("contact_min", max),
        ("contact_max", min),
        ("area_max_cm2", min),
        ("age_min", max),
    ):
        own, protocols = getattr(change, name), getattr(product, name)
        if own is not None and protocols is not None and stricter(own, protocols) != own:
            yield name


def _numbing(entry: TreatmentEntry, protocol: Protocol) -> Found:
    policy = entry.numbing
    effective_products = effective(protocol, products=entry.products).numbing.products
    products = {product.id: product for product in effective_products}
    yield from _unknown("stock", policy.stock, products, "numbing product")
    yield from _twice("stock", policy.stock)
    yield from _unknown("contact", policy.contact, products, "numbing product")
    for name, contact in policy.contact.items():
        product = products.get(name)
        if product and not product.contact_min <= contact <= product.contact_max:
            least, most = product.contact_min, product.contact_max
            yield f"contact.{name}", f"{name!r} stays on for {least} to {most}, not {contact}."
    if policy.home == "approved" and not any(
        products[name].home for name in policy.stock if name in products
    ):
        yield "home", "No product in stock may be used at home; write 'never'."


def clinic(profile: Profile, treatments: Mapping[str, Treatment], folder: Path) -> Clinic:
    """Return the clinic of a profile without problems; relative paths in it begin at `folder`."""
    return Clinic(
        id=profile.id,
        name=profile.name,
        zone=profile.zone,
        languages=profile.languages,
        contact=profile.contact,
        hours=profile.hours.by_weekday(),
        closures=tuple(entry.closure() for entry in profile.closures),
        resources=tuple(_resource(entry) for entry in profile.resources),
        booking=profile.booking,
        calendar=profile.calendar,
        treatments=dict(sorted(treatments.items(), key=lambda item: item[1].retired)),
        busy=tuple(entry.located(folder) for entry in profile.busy),
        mail=profile.mail,
        base_template=profile.base_template,
        retention=profile.retention,
        consent_facts=profile.consent_facts,
        marketing_name=profile.marketing_name,
    )


def _resource(entry: ResourceEntry) -> Resource:
    return Resource(
        id=entry.id,
        kind=entry.kind,
        name=entry.name,
        treatments=entry.treatments,
        hours=entry.hours.by_weekday() if entry.hours else None,
        closures=tuple(closure.closure() for closure in entry.closures),
        lanes=entry.lanes,
        before=entry.before,
        after=entry.after,
    )


def treatment(entry: TreatmentEntry, protocol: Protocol, languages: Collection[str]) -> Treatment:
    """Return one treatment of a profile without problems: the protocol as this clinic runs it."""
    own = effective(
        protocol,
        waits=entry.waits,
        limits=entry.limits,
        rules_on=entry.rules_on,
        rules_off=entry.rules_off,
        offers=entry.offers,
        languages=languages,
        courses=entry.courses,
        products=entry.products,
    )
    return Treatment(
        protocol=own,
        fingerprint=fingerprint(own, entry.numbing),
        approval=entry.approval,
        numbing=entry.numbing,
        retired=entry.retired,
        changes=tuple(_changes(entry, protocol)),
        before=entry.before,
        after=entry.after,
    )


def _changes(entry: TreatmentEntry, protocol: Protocol) -> Iterator[str]:
    for name, wait in entry.waits.items():
        if wait != protocol.waits[name]:
            yield f"Wait {name}: {wait} instead of {protocol.waits[name]}"
    for name, limit in entry.limits.items():
        if limit != protocol.limits[name]:
            yield f"Limit {name}: {limit} instead of {protocol.limits[name]}"
    inactive = {rule.id for rule in protocol.rules if not rule.active}
    yield from (f"Rule {name} switched on" for name in entry.rules_on if name in inactive)
    yield from (f"Rule {name} switched off" for name in entry.rules_off if name not in inactive)
    yield from (f"Offers {name}" for name in entry.offers)
    for kind, changes in (("Course", entry.courses), ("Product", entry.products)):
        for name, change in changes.items():
            yield f"{kind} {name}: {_said(change)}"
    for name, contact in entry.numbing.contact.items():
        yield f"Contact time of {name}: {contact}"


def _said(change: CourseChange | ProductChange) -> str:
    given = ((part.name, getattr(change, part.name)) for part in fields(change))
    return ", ".join(f"{name} {_value(value)}" for name, value in given if value is not None)


def _value(value: Any) -> str:
    parts = ("min", "usual", "max")
    if all(hasattr(value, part) for part in parts) and not isinstance(value, dt.timedelta):
        return "/".join(str(getattr(value, part)) for part in parts)
    return str(value)
