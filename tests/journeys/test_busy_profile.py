"""`[[busy]]` in a clinic's profile: what it may say, and what is told of its mistakes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from intake_plugin.calendars.busy import Limits
from intake_plugin.clinical.protocol import Wait
from intake_plugin.errors import ConfigurationError
from intake_plugin.loading import load_clinic
from intake_plugin.settings import BusySource
from intake_plugin.testing import PROFILE, clinic

ENTRY = {
    "resource": "nurse",
    "source": "https://calendar.example/nurse.ics",
    "stale_after": "PT6H",
    "stale": "block",
}


def test_what_is_left_out_has_a_default_that_is_data() -> None:
    assert clinic(busy=[ENTRY]).busy == (
        BusySource(
            id="nurse",
            resource="nurse",
            source="https://calendar.example/nurse.ics",
            stale_after=dt.timedelta(hours=6),
            stale="block",
            ahead=Wait(months=18),
            within=dt.timedelta(minutes=1),
            limits=Limits(octets=20_000_000, entries=50_000, instances=50_000),
            redirects=0,
            private_addresses=False,
        ),
    )
    assert clinic().busy == ()


def test_a_path_begins_at_the_profile_and_a_subscription_is_https(tmp_path: Path) -> None:
    (source,) = clinic(busy=[ENTRY | {"source": "webcal://calendar.example/nurse.ics"}]).busy
    assert source.source == "https://calendar.example/nurse.ics"
    (source,) = clinic(busy=[ENTRY | {"source": "nurse.ics"}]).busy
    assert source.source == "nurse.ics"
    head, _, rest = (Path(__file__).parents[1] / "web/clinic.toml").read_text().partition("[contact]")
    lines = "\n".join(f'{key} = "{value}"' for key, value in (ENTRY | {"source": "sub/nurse.ics"}).items())
    (tmp_path / "clinic.toml").write_text(f"{head}[contact]{rest}\n[[busy]]\n{lines}\n")
    (source,) = load_clinic(tmp_path / "clinic.toml").busy
    assert source.source == str(tmp_path / "sub/nurse.ics")


def test_an_address_can_be_kept_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NURSE_CALENDAR", "https://calendar.example/private-1/basic.ics")
    (source,) = clinic(busy=[ENTRY | {"source": "env:NURSE_CALENDAR"}]).busy
    assert source.source == "https://calendar.example/private-1/basic.ics"
    monkeypatch.delenv("NURSE_CALENDAR")
    with pytest.raises(ConfigurationError, match="There is no environment variable 'NURSE_CALENDAR'"):
        clinic(busy=[ENTRY | {"source": "env:NURSE_CALENDAR"}])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resource": "nurs"}, r"busy\[0\].resource.nurs: There is no resource 'nurs'. Did you mean 'nurse'"),
        ({"source": ""}, r"busy\[0\].source: This is empty"),
        ({"source": "http://calendar.example/n.ics"}, "over http; write https"),
        ({"source": "ftp://calendar.example/n.ics"}, "'ftp:' is no way to read a calendar"),
        ({"stale": "ignore"}, "'ignore' is not one of block, warn"),
        ({"stale_after": "PT0S"}, r"busy\[0\].stale_after: This must be some time"),
        ({"stale_after": 6}, "not an ISO 8601 duration"),
        ({"within": "PT0S"}, r"busy\[0\].within: This must be some time"),
        ({"ahead": "P0D"}, r"busy\[0\].ahead: Entries are kept for some time ahead"),
        ({"octets": 0}, r"busy\[0\].octets: With this limit nothing could be read"),
        ({"instances": 0}, "With this limit nothing could be read"),
        ({"redirects": -1}, "Write 0 for none"),
        ({"id": "Nurse A"}, "may hold only small letters"),
        ({"stale_afer": "PT6H"}, "There is no 'stale_afer' here. Did you mean 'stale_after'"),
    ],
    ids=lambda it: str(it)[:40],
)
def test_a_mistake_is_told_with_its_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        clinic(busy=[ENTRY | change])
    assert len(refused.value.problems) == 1


def test_two_calendars_of_one_resource_need_names() -> None:
    with pytest.raises(ConfigurationError, match="'nurse' stands here 2 times; give each calendar an id"):
        clinic(busy=[ENTRY, ENTRY])
    assert [each.id for each in clinic(busy=[ENTRY | {"id": "home"}, ENTRY]).busy] == ["home", "nurse"]


def test_the_own_network_may_go_without_https() -> None:
    inside = ENTRY | {"source": "http://10.0.0.5/nurse.ics", "private_addresses": True}
    assert clinic(busy=[inside]).busy[0].private_addresses
    for wrong in ("nurse", [1], {"resource": "nurse"}):
        with pytest.raises(ConfigurationError):
            load_clinic({**PROFILE, "busy": wrong})
