"""What a deployment and a clinic decide, as frozen dataclasses.

`Settings` holds the few deployment values a host puts into `app.config` as `INTAKE_*`.
`Clinic` is one clinic's profile: name, zone, hours, resources, policies, and for each treatment
the protocol with the clinic's own waits and who approved it. `intake_plugin.loading` reads both
from files and reports every problem at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

from intake_plugin.calendars.busy import Limits
from intake_plugin.clinical.protocol import Protocol, Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Deployment settings, read once from `app.config` (`INTAKE_KEYS`, `INTAKE_DRAFT_LIFETIME`, ...).

    `keys` is the key ring in the form `id:base64` (newest first, separated by commas or spaces),
    a path given as `file:/...`, or a callable returning such a string.
    """

    keys: str | None = field(default=None, repr=False, metadata={"secret": True})
    draft_lifetime: dt.timedelta
    """How long an unfinished draft can be resumed, ISO 8601; WCAG 2.2.1 asks for at least 20 hours."""
    link_lifetime: dt.timedelta
    """How long a patient's own link works."""
    lock_timeout: dt.timedelta
    """How long a request waits for a lock in the database before it says that somebody else is booking."""
    mail_timeout: dt.timedelta
    """How long one answer of the mail server may take; `MAIL_TIMEOUT` goes before it."""
    embed: tuple[str, ...] = ()
    """Origins that may show the patient pages in a frame."""
    limit_start: str = ""
    """How often one address may begin a case at one mount; empty for as often as it likes."""
    limit_open: str = ""
    """How often it may open private links and try dates of birth."""
    limit_sign: str = ""
    """How often it may sign or decline a document."""
    limit_links: str = ""
    """How often it may make private links and calendar links."""
    site: str = ""
    """The address at which the site is reached from outside, with which links in mail begin."""
    deliver: Literal["command", "after-commit"] = "command"
    """`after-commit`: what a request has to tell is sent once it is answered, and not only by the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """How a patient reaches the clinic; `emergency` is the local emergency number."""

    telephone: str
    email: str
    address: str
    emergency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who answers for a protocol version at this clinic.

    `fingerprint` is the SHA-256 of the protocol with the clinic's changes; it stops matching as
    soon as either changes, and a new approval is needed.
    """

    by: str
    role: str
    on: dt.date
    version: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbingPolicy:
    """Which creams the clinic keeps, in order of preference, and whether any may be used at home."""

    stock: tuple[str, ...] = ()
    home: Literal["never", "approved"] = "never"
    """`approved`: at home where the product allows it and a clinician approved the case."""
    contact: Mapping[str, dt.timedelta] = field(default_factory=dict)
    """Contact time per product where the clinic uses more than the minimum."""


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """One treatment at one clinic: the protocol with the clinic's changes, and its approval."""

    protocol: Protocol
    fingerprint: str
    approval: Approval | None
    numbing: NumbingPolicy
    retired: bool = False
    """Nobody can begin or book it any more; what is booked stays, can be read, moved and cancelled."""
    changes: tuple[str, ...] = ()
    """The clinic's changes in words, for the approval record and `flask intake check`."""
    before: dt.timedelta = dt.timedelta()
    """Kept free before each session in every resource; a resource's own buffer counts where it is longer."""
    after: dt.timedelta = dt.timedelta()

    @property
    def approved(self) -> bool:
        """Whether somebody answers for exactly this content, by name and version.

        The date is not looked at here, which has no clock; `flask intake check` does.
        """
        given = self.approval
        if given is None or not given.by.strip():
            return False
        return (given.fingerprint, given.version) == (self.fingerprint, self.protocol.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Days on which the clinic or a resource is closed, both ends included."""

    first: dt.date
    last: dt.date
    reason: str = ""


Hours = Mapping[int, tuple[tuple[dt.time, dt.time], ...]]
"""ISO weekday (Monday is 1) -> opening intervals in local time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A practitioner or a room. A session needs one of each kind the clinic lists."""

    id: str
    kind: Literal["practitioner", "room"]
    name: str
    treatments: tuple[str, ...] = ()
    """Protocol ids served; empty means all."""
    hours: Hours | None = None
    """Own hours within the clinic's; None means the clinic's."""
    closures: tuple[Closure, ...] = ()
    lanes: int = 1
    """How many sessions the resource can hold at once."""
    before: dt.timedelta = dt.timedelta()
    after: dt.timedelta = dt.timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingPolicy:
    """The clinic's rules of time; none has a default, so that each is a decision."""

    notice: dt.timedelta
    """From now to the first time that can be booked."""
    horizon: Wait
    """How far ahead a first session can be booked; a series may run past it."""
    grid: dt.timedelta
    """Arrival times lie on this grid, counted in local time from midnight."""
    drift: Wait
    """How far from the usual interval a proposed session may move to keep weekday and hour."""
    hold: dt.timedelta
    """How long chosen times are held while the patient decides, and how much longer after each press."""
    hold_most: dt.timedelta
    """How long the times of one choice can be held in all."""
    move_notice: dt.timedelta
    cancel_notice: dt.timedelta
    block_most: Wait
    """How long staff can block time by hand with one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusySource:
    """A calendar kept elsewhere, whose entries take a resource's time.

    `source` is an https address or the path of a file. It is read by `flask intake busy` and never
    while a page is made.
    """

    id: str
    resource: str
    source: str
    stale_after: dt.timedelta
    """How old the last reading may be."""
    stale: Literal["block", "warn"]
    """After that: offer nothing of this resource, or offer it and tell the staff."""
    ahead: Wait
    """How far ahead its entries are kept; what lies beyond counts as stale."""
    within: dt.timedelta
    """The longest that fetching and reading it may take."""
    limits: Limits
    redirects: int = 0
    """How many redirects are followed; every address on the way is checked like the first."""
    private_addresses: bool = False
    """Whether it may be on the clinic's own network, and without https."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarPolicy:
    """What the clinic's calendar files remind of, and for how long."""

    prepare: dt.timedelta
    """Alarm before the arrival; where the patient puts the cream on, it rings at that time instead."""
    ahead: dt.timedelta
    """The earlier alarm, usually a day."""
    entry: dt.timedelta
    """How long the entry "cream on" is shown."""
    keep_cancelled: dt.timedelta
    """How long after its time a session stays in feeds, and a cancelled one in files, marked as cancelled."""
    care_at: dt.time
    """Local time at which care counted in whole days stands in the calendar."""
    refresh: dt.timedelta
    """How often a subscribed calendar is told to ask again."""
    max_age: dt.timedelta
    """How long a calendar program may use a feed without asking again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPolicy:
    """What the clinic tells by mail, in whose name, and for how long it is tried."""

    sender: str
    """The clinic's mailbox from which messages come and which can take answers."""
    name: str
    """What mail programs show for it; empty for the address alone."""
    notices: str
    """Where the clinic is told that a case waits for a clinician; empty for nowhere."""
    calendar: Literal["attach", "invite"]
    """`attach`: one message with the file of the series. `invite`: an invitation to each session."""
    reminders: tuple[dt.timedelta, ...]
    """How long before the arrival a session is reminded of."""
    retry_after: dt.timedelta
    """How long to wait after the first attempt that failed; twice as long after each further one."""
    retry_most: dt.timedelta
    """The longest wait between two attempts."""
    give_up_after: dt.timedelta
    """How long after the first attempt a message is no longer tried."""
    keep_sent: dt.timedelta
    """How long after its end a message's row is kept, without its content."""

    def wait_after(self, attempts: int) -> dt.timedelta:
        """Return how long to wait after that many attempts."""
        wait = self.retry_after
        for _ in range(attempts - 1):
            if wait >= self.retry_most:
                break
            wait *= 2
        return min(wait, self.retry_most)


@dataclass(frozen=True, kw_only=True)
class Clinic:
    """One clinic's profile. `id` is stored with every record and must never change."""

    id: str
    name: str
    zone: ZoneInfo
    languages: tuple[str, ...]
    contact: Contact
    hours: Hours
    closures: tuple[Closure, ...]
    resources: tuple[Resource, ...]
    booking: BookingPolicy
    calendar: CalendarPolicy
    treatments: Mapping[str, Treatment]
    """By protocol id, in the order of the profile, retired ones last."""
    base_template: str
    retention: Wait
    """How long records are kept after the last entry; printed in the data-processing consent."""
    consent_facts: Mapping[str, str] = field(default_factory=dict)
    """The clinic's own words for the placeholders of consent texts (controller, complaints, ...)."""
    busy: tuple[BusySource, ...] = ()
    mail: MailPolicy | None = None
    """None: the clinic sends no mail."""
    marketing_name: str = ""
    """What calendars may say of the clinic in titles and places; empty for nothing."""

    @property
    def offered(self) -> Mapping[str, Treatment]:
        """The treatments that can be begun, by protocol id."""
        return {key: treatment for key, treatment in self.treatments.items() if not treatment.retired}
