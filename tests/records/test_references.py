from __future__ import annotations

import re

from intake_plugin.records.references import new_reference


def test_references_have_no_letters_that_look_or_sound_alike() -> None:
    made = {new_reference() for _ in range(2000)}
    assert len(made) > 1990
    assert all(re.fullmatch(r"[A-Z0-9]{3}-[A-Z0-9]{4}", reference) for reference in made)
    assert not set("".join(made)) & set("0O1IL5SZBUYAE")
