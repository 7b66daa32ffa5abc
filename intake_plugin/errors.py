"""Every error the plugin raises on purpose.

IntakeError
├── ConfigurationError      a file or setting is wrong; carries all problems at once
│   ├── ProtocolError       a protocol or one of its language files is wrong
│   └── ImportRefused       a calendar from outside cannot be used; what was read before stays
├── SetupError              the host mounted the plugin in a way that cannot work
│   └── LayoutError         the host's base template swallowed the page
├── KeyRingError            a key is missing, malformed or unknown
│   └── SealBroken          a sealed value does not open: altered, moved, or another key's
├── MailRefused             a message will never be taken for this address; trying again is no use
└── JourneyError            a patient or a member of staff asked for something not possible now
    ├── NotFound            no such case, link or file for this person
    │   ├── ReadOnly        an account of the clinic that looks and changes nothing
    │   └── NoTreatment     a case whose treatment is no longer in the clinic's profile
    ├── OutOfTurn           an earlier step has to come first; carries that step
    ├── Stale               the page shown is older than what is stored
    ├── TimeTaken           a chosen time has gone; nothing was written
    ├── TooLate             the clinic's notice for a move or a cancellation has passed
    ├── NotAsSigned         what would be done is not what was signed; nothing was written
    └── Busy                the database gave no lock in time; trying again helps
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

_FEW = 20
"""More names than this in an error hide the error."""
_LONGEST = 500
"""Characters; a file may have a name of a million."""


class IntakeError(Exception):
    """Base of every error the plugin raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file: where it stands and what to do about it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return " Did you mean 'x'?" for the nearest known word, else the known ones if they are few."""
    names = {str(name).casefold(): str(name) for name in known}
    near = get_close_matches(str(word).casefold(), names, n=1)
    if near:
        return f" Did you mean {names[near[0]]!r}?"
    return f" Known: {', '.join(sorted(names.values()))}." if 0 < len(names) <= _FEW else ""


class ConfigurationError(IntakeError):
    """A file or a setting is wrong; `problems` lists everything found, not only the first."""

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{subject} has {count} problem{'' if count == 1 else 's'}:"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))


class ProtocolError(ConfigurationError):
    """A protocol, or one of its language files, cannot be used for patients."""


class ImportRefused(ConfigurationError):
    """A calendar from outside could not be fetched or read; what was read before stays."""

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        super().__init__(subject, [Problem(_plain(each.where), _plain(each.what)) for each in problems])


def _plain(text: str) -> str:
    """Return what a stranger's file or server may have had a part in as a terminal and a database take it."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


class SetupError(IntakeError):
    """The host mounted the plugin in a way that cannot work; the text says what to change."""


class LayoutError(SetupError):
    """The host's base template dropped the plugin's page."""


class KeyRingError(IntakeError):
    """An encryption key is missing, malformed or unknown."""


class SealBroken(KeyRingError):
    """A sealed value does not open: it was altered, moved to another row, or its key is gone."""


class MailRefused(IntakeError):
    """A message will never be taken for this address, so that it is given up at once.

    A host's own mailer raises it; `code` is kept and shown to staff, so it names no patient.
    """

    def __init__(self, code: str = "refused") -> None:
        self.code = code
        super().__init__(f"The message was refused for good ({code}).")


class JourneyError(IntakeError):
    """Somebody asked for an act that is not possible now; nothing was written."""


class NotFound(JourneyError):
    """No such case, link or file for the person asking."""


class ReadOnly(NotFound):
    """An account of the clinic that may look asked to change something."""


class NoTreatment(NotFound):
    """The clinic's profile no longer has the treatment of a case, whose `protocol_id` it names."""

    def __init__(self, clinic: str, protocol_id: str) -> None:
        self.protocol_id = protocol_id
        super().__init__(
            f"The profile of {clinic} has no treatment {protocol_id!r} any more. Put it back, with "
            "`retired = true` if it is no longer offered."
        )


class OutOfTurn(JourneyError):
    """An earlier step has to come first.

    `step` is the step where the patient belongs now.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        super().__init__(f"The next step for this case is {step!r}.")


class Stale(JourneyError):
    """The page that was sent is older than what is stored."""


class TimeTaken(JourneyError):
    """A chosen time is no longer free; nothing of the series was written."""


class NotAsSigned(JourneyError):
    """What would be done is not what the patient signed; nothing was written."""


class TooLate(JourneyError):
    """A session begins too soon to be moved or cancelled without the clinic."""


class Busy(JourneyError):
    """The database could not give a lock in time; nothing was written, and trying again helps."""
