"""`[mail]` in a clinic's profile and `INTAKE_*` about mail: what they may say, and their mistakes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from intake_plugin.errors import ConfigurationError
from intake_plugin.loading import load_clinic, load_settings
from intake_plugin.settings import MailPolicy
from intake_plugin.testing import clinic, keys

SENDER = {"sender": "desk@clinic.example"}
CLINICS = Path(__file__).parents[2] / "example_host/clinics"


def test_a_clinic_that_says_nothing_sends_no_mail() -> None:
    assert clinic().mail is None


def test_what_is_left_out_has_a_default_that_is_data() -> None:
    assert clinic(mail=SENDER).mail == MailPolicy(
        sender="desk@clinic.example",
        name="",
        notices="",
        calendar="attach",
        reminders=(),
        retry_after=dt.timedelta(minutes=2),
        retry_most=dt.timedelta(hours=2),
        give_up_after=dt.timedelta(days=2),
        keep_sent=dt.timedelta(days=90),
    )


def test_every_setting_is_read() -> None:
    given = {
        "sender": "desk@clinic.example",
        "name": "North Clinic",
        "notices": "team@clinic.example",
        "calendar": "invite",
        "reminders": ["P2D", "PT3H"],
        "retry_after": "PT1M",
        "retry_most": "PT30M",
        "give_up_after": "P1D",
        "keep_sent": "P30D",
    }
    found = clinic(mail=given).mail
    assert found is not None
    assert (found.name, found.notices, found.calendar) == ("North Clinic", "team@clinic.example", "invite")
    assert found.reminders == (dt.timedelta(days=2), dt.timedelta(hours=3))
    assert found.keep_sent == dt.timedelta(days=30)
    assert [found.wait_after(attempts) for attempts in (1, 2, 3, 6, 100_000)] == [
        dt.timedelta(minutes=minutes) for minutes in (1, 2, 4, 30, 30)
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sender": "desk"}, r"mail.sender: 'desk' is not the address of a mailbox"),
        ({"sender": "a@x.example\nBcc: b@x.example"}, r"mail.sender: .* is not the address of a mailbox"),
        ({"notices": "team"}, "mail.notices: 'team' is not the address of a mailbox"),
        ({"name": "North\r\nBcc: all"}, "mail.name: A name is one line of text"),
        ({"calendar": "link"}, "'link' is not one of attach, invite"),
        ({"reminders": "P2D"}, "'P2D' is not a list"),
        ({"reminders": ["2 days"]}, "is not an ISO 8601 duration"),
        ({"reminders": ["P2D", "PT48H"]}, "2 days, 0:00:00 before a session stands here 2 times"),
        ({"reminders": ["PT0S"]}, "A reminder comes some time before"),
        ({"retry_after": "PT0S"}, "mail.retry_after: This must be some time"),
        ({"retry_after": "PT3H"}, "mail.retry_most: It is shorter than the first wait, 3:00:00"),
        ({"give_up_after": "PT0S"}, "mail.give_up_after: This must be some time"),
        ({"keep_sent": "P0D"}, "mail.keep_sent: This must be some time"),
        ({"reminder": ["P2D"]}, "There is no 'reminder' here. Did you mean 'reminders'"),
    ],
)
def test_mistakes_are_told_with_their_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        clinic(mail=SENDER | change)


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        clinic(mail={"sender": "desk", "notices": "team", "calendar": "link", "keep_sent": "P0D"})
    assert len(error.value.problems) == 4
    with pytest.raises(ConfigurationError, match=r"mail.sender: This is missing"):
        clinic(mail={})


def test_the_example_s_clinics_send_mail() -> None:
    for path in CLINICS.glob("*.toml"):
        assert load_clinic(path).mail is not None, path.name


def test_settings_about_mail() -> None:
    plain = load_settings({"INTAKE_KEYS": keys()})
    assert (plain.site, plain.deliver, plain.mail_timeout) == ("", "command", dt.timedelta(seconds=20))
    given = load_settings(
        {
            "INTAKE_KEYS": keys(),
            "INTAKE_SITE": "https://www.example.org/skin",
            "INTAKE_DELIVER": "after-commit",
            "INTAKE_MAIL_TIMEOUT": "PT5S",
        }
    )
    assert (given.site, given.deliver) == ("https://www.example.org/skin", "after-commit")
    assert given.mail_timeout == dt.timedelta(seconds=5)


@pytest.mark.parametrize(
    "site",
    [
        "http://www.example.org",
        "www.example.org",
        "https://",
        "https://www.example.org/?a=b",
        "https://user@www.example.org",
        "https://www.exämple.org",
        "javascript:alert(1)",
        "https://[",
    ],
)
def test_private_links_go_to_a_site_with_tls_only(site: str) -> None:
    with pytest.raises(ConfigurationError, match=r"INTAKE_SITE: .* is not the address of a site"):
        load_settings({"INTAKE_KEYS": keys(), "INTAKE_SITE": site})


def test_this_machine_itself_may_go_without_tls() -> None:
    for site in ("http://127.0.0.1:5000", "http://localhost/skin"):
        assert load_settings({"INTAKE_KEYS": keys(), "INTAKE_SITE": site}).site == site


def test_wrong_settings_about_mail_are_named() -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings({"INTAKE_DELIVER": "at once", "INTAKE_MAIL_TIMEOUT": "PT0S", "INTAKE_KEYS": keys()})
    assert "INTAKE_DELIVER: 'at once' is not one of command, after-commit" in str(error.value)
    assert "INTAKE_MAIL_TIMEOUT: The mail server must be given some time" in str(error.value)
