"""Why a time is not offered, with the names that belong to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.clinical.protocol import Compare, Outcome, RuleText, Section
from intake_plugin.errors import NotFound
from intake_plugin.journeys import blocking, booking, changing, review
from intake_plugin.journeys.office import SYSTEM
from intake_plugin.journeys.review import Ruling
from intake_plugin.journeys.why import Why, why_not_offered
from intake_plugin.records.tables import AuditEntry, Case, Verdict
from intake_plugin.settings import Clinic
from intake_plugin.state import Staff
from intake_plugin.testing import approve, clinic
from intake_plugin.web.why_words import reason_words
from tests.journeys.conftest import CLINIC, Desk

MONDAY = dt.date(2026, 3, 16)
DAY = dt.timedelta(days=1)


def at(time: str, date: dt.date = MONDAY) -> dt.datetime:
    return dt.datetime.combine(date, dt.time.fromisoformat(time))


def ask(desk: Desk, local: dt.datetime, resource: str | None = None, case: Case | None = None) -> Why:
    reference = None if case is None else case.reference
    return why_not_offered(desk.office, local, actor=SYSTEM, resource_id=resource, reference=reference)


def kinds(why: Why) -> list[tuple[str, str | None]]:
    return [(each.kind, each.resource.id if each.resource else None) for each in why.reasons]


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        (at("10:00"), []),
        (at("10:05"), [("grid", None)]),
        (at("07:00"), [("hours", None), ("hours", "nurse"), ("hours", "room")]),
        (at("10:00", dt.date(2026, 3, 3)), []),
        (at("09:15", dt.date(2026, 3, 3)), [("notice", None)]),
        (at("10:00", dt.date(2026, 6, 3)), [("horizon", None)]),
        (at("01:30", dt.date(2026, 3, 29)), [("skipped", None)]),
    ],
)
def test_each_rule_of_time_is_named(desk: Desk, local: dt.datetime, expected: list[tuple[str, str]]) -> None:
    assert kinds(ask(desk, local)) == expected


def test_closures_are_told_with_their_reason_and_treatments_with_the_resource(desk: Desk) -> None:
    holiday = {"first": MONDAY, "last": MONDAY + DAY, "reason": "Spring cleaning"}
    resources = [
        {"id": "nurse", "kind": "practitioner", "name": "Nurse", "closures": [holiday]},
        {"id": "doctor", "kind": "practitioner", "name": "Doctor", "treatments": ["light_peel"]},
        {"id": "room", "kind": "room", "name": "Room"},
    ]
    treatments = [{"protocol": "microneedling"}, {"protocol": "light_peel"}]
    profile = approve(clinic(resources=resources, treatments=treatments))
    found = ask(Desk(replace(desk.office, clinic=profile)), at("10:00"), case=desk.signed())
    assert kinds(found) == [("closure", "nurse"), ("treatment", "doctor")]
    closure = found.reasons[0].closure
    assert closure is not None
    assert closure.reason == "Spring cleaning"
    whole = approve(clinic(closures=[holiday]))
    assert kinds(ask(Desk(replace(desk.office, clinic=whole)), at("10:00")))[0] == ("closure", None)


def test_without_a_case_the_visit_is_the_shortest_that_the_resource_serves(desk: Desk) -> None:
    resources = [
        {"id": "nurse", "kind": "practitioner", "name": "Nurse", "treatments": ["microneedling"]},
        {"id": "doctor", "kind": "practitioner", "name": "Doctor"},
        {"id": "room", "kind": "room", "name": "Room"},
    ]
    treatments = [{"protocol": "microneedling"}, {"protocol": "light_peel"}]
    profile = approve(clinic(resources=resources, treatments=treatments))
    both = Desk(replace(desk.office, clinic=profile))
    nurse, doctor, anybody = (ask(both, at("10:00"), whose) for whose in ("nurse", "doctor", None))
    assert nurse.protocol_id == "microneedling"
    assert (doctor.protocol_id, anybody.protocol_id) == ("light_peel", "light_peel")
    assert doctor.span.arrive < nurse.span.arrive
    assert [each.reasons for each in (nurse, doctor, anybody)] == [(), (), ()]


def test_a_session_in_the_way_is_told_by_its_case(desk: Desk) -> None:
    case = desk.booked()
    session = booking.appointments_of(desk.office, case)[0]
    found = ask(desk, dt.datetime.fromisoformat(session.local_start), case=desk.signed())
    assert {(each.kind, each.resource and each.resource.id, each.reference) for each in found.reasons} == {
        ("claim", "nurse", case.reference),
        ("claim", "room", case.reference),
    }
    nurse = next(each for each in found.reasons if each.resource and each.resource.id == "nurse")
    assert (nurse.start, nurse.end) == (session.treatment_at, session.end_at - dt.timedelta(minutes=10))


def test_two_sessions_that_touch_are_told_apart(desk: Desk) -> None:
    one, two = desk.booked(), desk.booked()
    arrivals = [booking.appointments_of(desk.office, case)[0] for case in (one, two)]
    local = dt.datetime.fromisoformat(arrivals[0].local_start)
    found = ask(desk, local, "room")
    assert [each.reference for each in found.reasons] == [one.reference]
    other = ask(desk, dt.datetime.fromisoformat(arrivals[1].local_start), "room")
    assert [each.reference for each in other.reasons] == [two.reference]


def test_a_block_and_an_overlap_are_told(desk: Desk, clinician: Staff) -> None:
    start = dt.datetime(2026, 3, 16, 9, tzinfo=dt.UTC)
    made = blocking.block(desk.office, clinician, "room", start, start + DAY, "Paint")
    (reason,) = ask(desk, at("10:00"), "room").reasons
    assert (reason.kind, reason.block and reason.block.id, reason.reference) == ("block", made.id, None)
    blocking.unblock(desk.office, clinician, made.id)
    case, standing = desk.signed(), desk.signed()
    for each in (standing, case):
        first = booking.times(desk.office, each, first=MONDAY).slots[0].arrive
        booking.choose_first(desk.office, each, first)
        plan = booking.proposal(desk.office, each).sessions
        booking.confirm(
            desk.office, each, {s.proposal.ordinal: s.proposal.slot.arrive for s in plan if s.proposal.slot}
        )
    taken = booking.appointments_of(desk.office, standing)[0]
    changing.move(desk.office, case, 1, {1: taken.arrive_at}, staff=clinician, reason="Sisters")
    changing.cancel(desk.office, standing, 1)
    found = ask(desk, dt.datetime.fromisoformat(taken.local_start))
    assert {(each.kind, each.reference) for each in found.reasons} == {("block", case.reference)}


def test_a_clinical_finding_is_told_by_its_rule_and_the_reading_is_recorded(desk: Desk) -> None:
    case = desk.signed(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    found = ask(desk, at("10:00", dt.date(2026, 3, 5)), case=case)
    assert [each.kind for each in found.reasons] == ["not-before", "forbidden"]
    assert found.not_before == MONDAY
    finding = found.reasons[1].finding
    assert finding is not None
    assert finding.rule_id
    assert finding.reason
    assert ask(desk, at("10:00"), case=case).reasons == ()
    entries = desk.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "why not")).all()
    assert [each.object_id for each in entries] == [case.id] * 2


def asking(clinic: Clinic, *, required: bool, rule: Outcome | None = None) -> Clinic:
    """The clinic, its protocol asking one thing more, with a rule on it or none; its approval as it was."""
    protocol = clinic.treatments["microneedling"].protocol
    new = replace(protocol.questions["pregnant"], link_id="new", required=required)
    sections = (*protocol.sections, Section(id="more", questions=(new,)))
    rules = protocol.rules
    if rule is not None:
        when = Compare(question="new", operator="=", answer="yes")
        rules = (*rules, replace(rules[0], id="NEW", when=when, outcome=rule, since=None, wait=None))
    texts = {
        locale: replace(
            words,
            questions={**words.questions, "new": replace(words.questions["pregnant"], short="Something new")},
            rules={**words.rules, "NEW": RuleText(reason="Something new forbids it.")},
        )
        for locale, words in protocol.texts.items()
    }
    changed = replace(protocol, sections=sections, rules=rules, texts=texts)
    return treating(clinic, protocol=changed)


def treating(clinic: Clinic, **changes: Any) -> Clinic:
    """The clinic with something else in its treatment; who came before is not asked again."""
    treatment = replace(clinic.treatments["microneedling"], **changes)
    return replace(clinic, treatments={"microneedling": treatment})


def with_creams(*stock: str) -> Clinic:
    return treating(CLINIC, numbing=replace(CLINIC.treatments["microneedling"].numbing, stock=stock))


@pytest.mark.parametrize(
    ("after", "against"),
    [
        (CLINIC, None),
        (with_creams("LT23_7"), "numbing"),
        (asking(CLINIC, required=True), "unanswered"),
        (asking(CLINIC, required=False, rule=Outcome.STOP), "NEW"),
        (asking(CLINIC, required=False, rule=Outcome.DEFER), "NEW"),
        (asking(CLINIC, required=False, rule=Outcome.REVIEW), "NEW"),
    ],
    ids=["as-it-was", "another-cream", "unanswered", "undecided-stop", "undecided-defer", "undecided-review"],
)
def test_nothing_is_in_the_way_of_exactly_the_times_that_a_patient_is_shown(
    make_desk: Callable[..., Desk], clinician: Staff, after: Clinic, against: str | None
) -> None:
    before = make_desk(clinic=with_creams("LMX4"))
    before.booked()
    case = before.screened(
        recent=("filler",),
        filler_last=PartialDate(2026, 2, 5),
        numbing_health=("methaemoglobinaemia",),
    )
    chosen = Ruling(verdict=Verdict.CLEAR, note="Spoke to the patient.", version=case.version, numbing="LMX4")
    review.decide(before.office, clinician, case.reference, chosen)
    before.sign_all(case)
    desk = make_desk(clinic=with_creams("LMX4") if after is CLINIC else after, session=before.session)
    page = booking.times(desk.office, case)
    shown = {slot.local_arrive for slot in page.slots if slot.date <= page.first + DAY}
    assert bool(shown) == (against is None)
    for date in (page.first - DAY, page.first, page.first + DAY):
        for quarter in range(8 * 4, 18 * 4):
            local = dt.datetime.combine(date, dt.time()) + quarter * dt.timedelta(minutes=15)
            found = ask(desk, local, case=case)
            assert (not found.reasons) == (local in shown), local
            rules = {each.finding.rule_id for each in found.reasons if each.finding}
            assert (against in rules) or against is None
            words = [reason_words(desk.office.clinic, found, each) for each in found.reasons]
            assert all(words)


def test_an_unknown_resource_case_or_calendar_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="Did you mean 'nurse'"):
        ask(desk, at("10:00"), "nurs")
    with pytest.raises(NotFound):
        why_not_offered(desk.office, at("10:00"), actor=SYSTEM, reference="AAA-AAAA")
    with pytest.raises(NotFound):
        ask(desk, at("10:00"), case=desk.answered())
    for date in (dt.date.min, dt.date.max):
        with pytest.raises(NotFound):
            ask(desk, at("10:00", date))
