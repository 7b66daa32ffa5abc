"""The protocols of the package, and a patient about whom there is nothing to say."""

import datetime as dt
from collections.abc import Callable

import pytest

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.course import CoursePlan
from intake_plugin.clinical.protocol import Protocol
from intake_plugin.loading import load_protocol

TODAY = dt.date(2026, 3, 2)

FITZPATRICK_QUIZ = {
    "fitz_eyes": ("light", "blue", "hazel", "dark_brown", "brownish_black"),
    "fitz_hair": ("red", "blonde", "chestnut", "dark_brown", "black"),
    "fitz_skin": ("reddish", "very_pale", "beige", "light_brown", "dark_brown"),
    "fitz_freckles": ("many", "several", "few", "very_few", "none"),
    "fitz_burn": ("blisters", "burns_peels", "burns_sometimes", "burns_rarely", "never_burns"),
    "fitz_brown": ("hardly", "light_tan", "medium_tan", "tans_easily", "very_dark"),
    "fitz_hours": ("never", "seldom", "sometimes", "often", "always"),
    "fitz_face": ("very_sensitive", "sensitive", "normal", "resistant", "never_reacts"),
    "fitz_last_sun": ("over_3_months", "months_2_3", "months_1_2", "under_1_month", "under_2_weeks"),
    "fitz_exposed": ("never", "hardly_ever", "sometimes", "often", "always"),
}


def _quiz(points: int) -> dict[str, Answer]:
    """Answer every item of the skin type quiz with `points` (0 to 4)."""
    return {question: options[points] for question, options in FITZPATRICK_QUIZ.items()}


@pytest.fixture(scope="session")
def today() -> dt.date:
    return TODAY


@pytest.fixture(scope="session")
def microneedling() -> Protocol:
    return load_protocol("microneedling")


@pytest.fixture(scope="session")
def light_peel() -> Protocol:
    return load_protocol("light_peel")


def _usual_dates(plan: CoursePlan, first: dt.date) -> tuple[dt.date, ...]:
    dates = [first]
    while len(dates) < plan.sessions:
        dates.append(plan.gap_usual.after(dates[-1]))
    return tuple(dates)


@pytest.fixture(scope="session")
def usual_dates() -> Callable[[CoursePlan, dt.date], tuple[dt.date, ...]]:
    """Return the dates of a course that begins on a date, each gap the usual one."""
    return _usual_dates


@pytest.fixture(scope="session")
def quiz() -> Callable[[int], dict[str, Answer]]:
    return _quiz


@pytest.fixture(scope="session")
def clean() -> Callable[..., dict[str, Answer]]:
    """Answers of a healthy adult of skin type II for fine lines of the face; changes as arguments."""

    def answers(*, age: int = 35, **changes: Answer) -> dict[str, Answer]:
        none = ("none",)
        return {
            "birth_date": PartialDate(TODAY.year - age, 1, 15),
            "concern": "fine_lines",
            "pressure": "no",
            "worry": "no",
            "area": "face",
            "add_ons": none,
            "near_eyes": "no",
            "pregnant": "no",
            "breastfeeding": "no",
            "unwell": "no",
            "conditions": none,
            "isotretinoin": "never",
            "medicines": none,
            "skin_today": none,
            "skin_marks": none,
            "scars": none,
            "skin_history": none,
            "recent": none,
            "skincare": none,
            "sun_recent": none,
            **_quiz(1),
            "allergy": none,
            "numbing_health": none,
            "no_alcohol": "yes",
            "smoking": "no",
            **changes,
        }

    return answers
