"""`flask --app example_host demo`: believable cases, made the way patients and clinicians make them.

Every case goes through the plugin's use cases, so nothing here can be stored that a patient could
not have stored. The same seed gives the same people, answers and decisions on the same day.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from rich.console import Console
from rich.progress import track

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.protocol import Question
from intake_plugin.clinical.questionnaire import options_of, walk
from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import access, booking, consent, intake, review
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Case, CaseState, Verdict
from intake_plugin.settings import Clinic
from intake_plugin.state import Staff, State

FIRST, LAST = (line.split() for line in (Path(__file__).parent / "names.txt").read_text().splitlines())
DAY = dt.timedelta(days=1)
HISTORY = 21
"""Days back over which the cases are spread."""

CLINICIAN = Staff(id="demo", name="Demo clinician", role="decide")


@dataclass(frozen=True, kw_only=True)
class Story:
    """A kind of case: how often it happens, what is answered, how far it goes."""

    weight: int
    answers: Mapping[str, Answer] = field(default_factory=dict)
    days_ago: Mapping[str, int] = field(default_factory=dict)
    """Date questions, as whole days before the answer."""
    verdict: Verdict | None = None
    note: str = ""
    stops_at: str = ""
    """The last step taken: "questions", "consent" or "times"; empty for all that the outcome allows."""
    home: bool = False


STORIES = (
    Story(weight=9),
    Story(weight=3, answers={"medicines": ("supplements",)}),
    Story(weight=2, answers={"medicines": ("painkiller",)}),
    Story(weight=2, answers={"skincare": ("retinol",)}, days_ago={"retinoid_last": 1}),
    Story(weight=2, answers={"recent": ("botulinum",)}, days_ago={"botulinum_last": 6}),
    Story(weight=1, answers={"sun_recent": ("sunburn",)}, days_ago={"sunburn_last": 4}),
    Story(weight=1, answers={"skin_today": ("cold_sore",)}),
    Story(weight=1, answers={"skin_today": ("active_acne",)}),
    Story(weight=2, answers={"skin_history": ("cold_sores",)}),
    Story(weight=2, answers={"medicines": ("blood_thinner",)}),
    Story(
        weight=2,
        answers={"skin_history": ("cold_sores",)},
        verdict=Verdict.CLEAR,
        note="Two outbreaks a year, none now. Prescriber has arranged prophylaxis.",
    ),
    Story(
        weight=1,
        answers={"skin_history": ("eczema",)},
        verdict=Verdict.CLEAR,
        note="Elbows only, face clear for five years.",
        home=True,
    ),
    Story(
        weight=1,
        answers={"conditions": ("weak_immunity",)},
        verdict=Verdict.DECLINE,
        note="Discussed by telephone. Risk outweighs benefit at present.",
    ),
    Story(weight=1, answers={"pregnant": "yes"}),
    Story(weight=1, answers={"isotretinoin": "now"}),
    Story(weight=1, answers={"scars": ("keloid",)}),
    Story(weight=1, stops_at="questions"),
    Story(weight=1, stops_at="consent"),
    Story(weight=2, stops_at="times"),
)
GOALS = (
    ("fine_lines", "face"),
    ("acne_scars", "face"),
    ("texture", "face"),
    ("pores", "face"),
    ("laxity", "neck"),
)


@dataclass
class Patient:
    """Somebody with a story, at a clinic, who begins on a certain day."""

    clinic: Clinic
    story: Story
    begins: dt.datetime
    identity: intake.Identity
    rng: random.Random
    goal: tuple[str, str]

    def answer(self, question: Question, offered: Sequence[str], today: dt.date) -> Answer | None:
        """Return this patient's answer: the story's own, else the unremarkable one."""
        link_id, goal = question.link_id, dict(zip(("concern", "area"), self.goal, strict=True))
        if link_id in self.story.answers:
            return self.story.answers[link_id]
        if question.type == "date":
            return PartialDate.of(today - self.story.days_ago.get(link_id, 400) * DAY)
        if link_id in goal and goal[link_id] in offered:
            return goal[link_id]
        return self._unremarkable(question, offered)

    def _unremarkable(self, question: Question, offered: Sequence[str]) -> Answer | None:
        match question.type:
            case "yes-no":
                return "yes" if question.link_id == "no_alcohol" else "no"
            case "choices":
                return ("none",) if "none" in offered else (offered[0],)
            case "choice" if "never" in offered and question.link_id == "isotretinoin":
                return "never"
            case "choice":
                return offered[self.rng.randrange(1, min(3, len(offered)))]
            case "number":
                return question.minimum or 0
            case _:
                return None


def patients(clinics: Sequence[Clinic], count: int, rng: random.Random, now: dt.datetime) -> list[Patient]:
    """Return the people of the demonstration in the order in which they begin."""
    deck = [story for story in STORIES for _ in range(story.weight)]
    stories: list[Story] = []
    while len(stories) < count:
        stories += rng.sample(deck, len(deck))
    people = []
    for story in stories[:count]:
        first, last, clinic = rng.choice(FIRST), rng.choice(LAST), rng.choice(clinics)
        people.append(
            Patient(
                clinic=clinic,
                story=story,
                begins=now - dt.timedelta(minutes=rng.randrange(90, HISTORY * 24 * 60)),
                identity=intake.Identity(
                    name=f"{first} {last}",
                    birth_date=dt.date(rng.randrange(1962, 2001), rng.randrange(1, 13), rng.randrange(1, 29)),
                    email=f"{first}.{last}@example.com".lower(),
                    telephone=_telephone(clinic, rng),
                ),
                rng=rng,
                goal=rng.choice(GOALS),
            )
        )
    return sorted(people, key=lambda patient: patient.begins)


def _telephone(clinic: Clinic, rng: random.Random) -> str:
    """Return a number from those set aside for fiction."""
    if clinic.zone.key.startswith("America/"):
        return f"+1 212 555 01{rng.randrange(100):02}"
    return f"07700 900{rng.randrange(1000):03}"


class Visit:
    """One patient's way through the use cases, each step some minutes after the last."""

    def __init__(self, state: State, patient: Patient) -> None:
        self.patient = patient
        self.state = state
        self.now = patient.begins
        protocols = sorted(patient.clinic.offered)
        wanted = "microneedling" if patient.rng.random() < 0.8 else patient.rng.choice(protocols)
        self.case, _ = access.begin(self.office, protocol_id=wanted, locale=patient.clinic.languages[0])

    @property
    def office(self) -> Office:
        """The clinic's desk, a little later each time."""
        self.now += dt.timedelta(seconds=self.patient.rng.randrange(20, 90))
        return Office(
            clinic=self.patient.clinic,
            session=self.state.db.session(),
            settings=self.state.settings,
            keyring=self.state.keyring,
            now=self.now,
        )

    def make(self) -> Case:
        """Go as far as the story goes."""
        for step in self._steps():
            if step == self.patient.story.stops_at:
                break
        return self.case

    def _steps(self) -> Iterator[str]:
        intake.identify(self.office, self.case, self.patient.identity)
        yield from self._questions()
        intake.submit(self.office, self.case, shown=intake.answers_hash(self.case))
        yield "submitted"
        self._decide()
        if self.case.state != CaseState.CONSENT:
            return
        yield "consent"
        self._sign()
        yield "times"
        self._book()

    def _questions(self) -> Iterator[str]:
        office, last = self.office, self.patient.rng.randrange(2, 7)
        while (step := intake.next_step(office, self.case)).name == "questions":
            protocol, given = office.protocol_of(self.case), intake.answers_of(self.case)
            page, questions = next(
                found for found in walk(protocol, given, today=office.today) if found[0].key == step.key
            )
            answers = {
                question.link_id: self.patient.answer(
                    question,
                    [option.id for option in options_of(question, protocol, given, today=office.today)],
                    office.today,
                )
                for question in questions
            }
            office = self.office
            intake.answer(office, self.case, page.key, answers)
            last -= 1
            if not last:
                yield "questions"

    def _decide(self) -> None:
        story = self.patient.story
        if story.verdict is None or self.case.state != CaseState.REVIEW:
            return
        self.now += dt.timedelta(minutes=self.patient.rng.randrange(20, 80))
        found = review.whole(self.office, CLINICIAN, self.case.reference)
        ruling = review.Ruling(
            verdict=story.verdict,
            note=story.note,
            version=found.case.version,
            home_numbing=story.home,
            numbing=next(iter(found.numbing_choices), None),
        )
        review.decide(self.office, CLINICIAN, self.case.reference, ruling)

    def _sign(self) -> None:
        for document in consent.documents(self.office, self.case):
            rendered = document.rendered
            act = consent.Act(
                document_id=rendered.id,
                shown=rendered.sha256,
                button="Sign",
                name=self.patient.identity.name,
                ip="127.0.0.1",
                user_agent="demonstration",
            )
            wanted = rendered.required or self.patient.rng.random() < 0.5
            (consent.sign if wanted else consent.decline)(self.office, self.case, act)

    def _book(self) -> None:
        office = self.office
        week = booking.times(office, self.case)
        times = list(week.slots)
        self.patient.rng.shuffle(times)
        for slot in times[:8]:
            booking.choose_first(office, self.case, slot.arrive)
            plan = booking.proposal(office, self.case)
            chosen = {
                session.proposal.ordinal: session.proposal.slot.arrive
                for session in plan.sessions
                if session.proposal.slot is not None
            }
            if not plan.complete:
                continue
            try:
                booking.confirm(self.office, self.case, chosen)
            except TimeTaken:
                continue
            return


@click.command("demo")
@click.option("--cases", default=60, show_default=True, help="How many patients to make.")
@click.option("--seed", default=7, show_default=True, help="Another seed makes other people.")
@with_appcontext
def demo(cases: int, seed: int) -> None:
    """Fill both clinics with believable cases."""
    state: State = current_app.extensions["intake_plugin"]
    clinics = sorted(state.clinics.values(), key=lambda clinic: clinic.id)
    people = patients(clinics, cases, random.Random(seed), dt.datetime.now(dt.UTC))  # noqa: S311 - no secret
    console = Console(stderr=True)
    states = Counter(
        Visit(state, patient).make().state.value
        for patient in track(people, description="Patients", console=console)
    )
    for name, count in sorted(states.items()):
        click.echo(f"{count:4} {name}")
