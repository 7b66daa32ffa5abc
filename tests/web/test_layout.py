"""The host's base template: what it may look like, and what a mistake in it says."""

from __future__ import annotations

import pytest

from intake_plugin.errors import LayoutError
from tests.web.conftest import HOME, MakeSite

TITLE = "<!doctype html><html lang=en><head><title>{% block title %}Site{% endblock %}</title>"
HEAD = "{% block head %}{% endblock %}</head>"


def test_a_base_without_the_block_is_named(make_site: MakeSite) -> None:
    base = f"{TITLE}</head><body>{{% block body %}}{{% endblock %}}</body></html>"
    site = make_site(TESTING=True, templates={"site.html": base})
    with pytest.raises(LayoutError, match=r"'site\.html' has no block named 'content'.*intake/layout\.html"):
        site.get(HOME)


def test_a_site_with_other_block_names_overrides_one_template(make_site: MakeSite) -> None:
    base = f"{TITLE}</head><body>{{% block body %}}{{% endblock %}}</body></html>"
    own = "{% extends 'intake_plugin/layout.html' %}{% block body %}{{ self.content() }}{% endblock %}"
    response = make_site(templates={"site.html": base, "intake/layout.html": own}).get(HOME)
    assert response.status_code == 200
    assert 'data-intake-page="start"' in response.text


def test_a_main_in_a_main_is_named(make_site: MakeSite) -> None:
    base = f"{TITLE}{HEAD}<body><main>{{% block content %}}{{% endblock %}}</main></body></html>"
    site = make_site(TESTING=True, templates={"site.html": base})
    with pytest.raises(
        LayoutError, match=r"'site\.html' has its block 'content' inside its own <main>.*'div'"
    ):
        site.get(HOME)


def test_a_site_may_keep_its_main_around_the_block(make_site: MakeSite) -> None:
    base = (
        "{% set intake_element = 'div' %}"
        f"{TITLE}{HEAD}<body><main>{{% block content %}}{{% endblock %}}</main></body></html>"
    )
    text = make_site(templates={"site.html": base}).get(HOME).text
    assert text.count("<main") == 1
    assert '<div id="intake" data-intake data-intake-page="start"' in text


@pytest.mark.parametrize("head", [HEAD, "</head>"], ids=["with head", "without head"])
def test_the_stylesheet_is_there_once(make_site: MakeSite, head: str) -> None:
    base = f"{TITLE}{head}<body>{{% block content %}}{{% endblock %}}</body></html>"
    text = make_site(templates={"site.html": base}).get(HOME).text
    assert text.count("intake.css") == 1
    assert (text.index("intake.css") < text.index("<body>")) == (head == HEAD)


def test_the_sites_own_words_keep_their_meaning(make_site: MakeSite) -> None:
    base = (
        f"{TITLE}{HEAD}<body>{{{{ clinic }}}} {{{{ page }}}} {{{{ date }}}} {{{{ _('Home') }}}}"
        "{% block content %}{% endblock %}</body></html>"
    )
    site = make_site(templates={"site.html": base})
    site.app.context_processor(
        lambda: {"clinic": "our clinic", "page": "our page", "date": "today", "_": str.upper}
    )
    assert "our clinic our page today HOME" in site.get(HOME).text
