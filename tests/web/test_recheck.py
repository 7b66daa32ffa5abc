"""What the desk reads of a booked case whose protocol has changed since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from intake_plugin.clinical.protocol import Compare, Outcome, Protocol, Rule, RuleText, Section
from intake_plugin.settings import Clinic
from tests.web.conftest import CLINICIAN, DESK, MakeSite, Site
from tests.web.test_changes import ask, booked, references
from tests.web.test_pages import check


def asking(protocol: Protocol) -> Protocol:
    new = replace(protocol.questions["pregnant"], link_id="new")
    texts = {
        locale: replace(
            words,
            questions={**words.questions, "new": replace(words.questions["pregnant"], short="Something new")},
        )
        for locale, words in protocol.texts.items()
    }
    sections = (*protocol.sections, Section(id="more", questions=(new,)))
    return replace(protocol, sections=sections, texts=texts)


def stopping(protocol: Protocol) -> Protocol:
    rule = Rule(id="NEW", outcome=Outcome.STOP, when=Compare(question="isotretinoin", answer="never"))
    texts = {
        locale: replace(words, rules={**words.rules, "NEW": RuleText(reason="Something new forbids it.")})
        for locale, words in protocol.texts.items()
    }
    return replace(protocol, rules=(*protocol.rules, rule), texts=texts)


def running(clinic: Clinic, protocol: Protocol) -> Clinic:
    treatment = replace(clinic.treatments["microneedling"], protocol=protocol, fingerprint="0" * 64)
    return replace(clinic, treatments={**clinic.treatments, "microneedling": treatment})


@pytest.fixture
def before(make_site: MakeSite, tmp_path: Path) -> Site:
    site = make_site(url=f"sqlite:///{tmp_path / 'site.sqlite'}")
    booked(site)
    return site


def after(make_site: MakeSite, tmp_path: Path, clinic: Clinic) -> Site:
    """The same site with another profile and somebody at its desk."""
    site = make_site(clinic, url=f"sqlite:///{tmp_path / 'site.sqlite'}")
    site.staff = CLINICIAN
    return site


def test_the_desk_reads_what_to_ask_a_booked_patient(
    make_site: MakeSite, tmp_path: Path, clinic: Clinic, before: Site
) -> None:
    changed = running(clinic, asking(clinic.treatments["microneedling"].protocol))
    site = after(make_site, tmp_path, changed)
    desk, reference = site.visitor(), references(site)[0]
    page = desk.get(f"{DESK}cases/{reference}")
    check(page)
    assert "Check the answers again" in page.text
    assert "Something new" in page.text
    told = ask(site, "14:00", reference=reference)
    assert "This time is offered." in told
    assert "to be asked before the session: Something new." in told
    command = ["intake", "why-not", "harbour", "any", "2026-03-17 14:00", "--case", reference]
    output = CliRunner().invoke(FlaskGroup(create_app=lambda: site.app), command).output
    assert "to be asked before the session: Something new." in output


def test_the_desk_reads_which_sessions_a_new_rule_is_against(
    make_site: MakeSite, tmp_path: Path, clinic: Clinic, before: Site
) -> None:
    changed = running(clinic, stopping(clinic.treatments["microneedling"].protocol))
    site = after(make_site, tmp_path, changed)
    reference = references(site)[0]
    page = site.visitor().get(f"{DESK}cases/{reference}")
    check(page)
    words = "Rule NEW forbids this date: Something new forbids it."
    assert page.text.count(words) == 4
    assert words in ask(site, "14:00", reference=reference)


def test_nothing_is_to_check_while_the_protocol_is_as_it_was(before: Site) -> None:
    before.staff = CLINICIAN
    page = before.visitor().get(f"{DESK}cases/{references(before)[0]}")
    assert "Check the answers again" not in page.text
