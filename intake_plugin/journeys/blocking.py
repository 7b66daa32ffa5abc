"""Time that staff take from a practitioner or a room by hand.

A block keeps times from being offered and from being confirmed by whoever looks after it was
stored. It claims nothing and moves nobody: sessions booked before it, or at the same moment, stay
booked, and the desk is shown them whenever it looks at its blocks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from intake_plugin.errors import NotFound, ReadOnly
from intake_plugin.journeys.office import Office, transaction
from intake_plugin.records import audit
from intake_plugin.records.tables import Appointment, Block, Case, Occupancy
from intake_plugin.state import Staff

SHOWN = 25
"""How many sessions inside a block are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """One block, and the references of the first `SHOWN` cases that have a session inside it."""

    block: Block
    booked: tuple[str, ...]
    more: int
    """How many sessions it touches besides."""


def blocks(office: Office) -> tuple[BlockRow, ...]:
    """Return the blocks that are not over, in order of their beginning."""
    found = office.session.scalars(
        sa.select(Block)
        .where(Block.clinic_id == office.clinic.id, Block.end_at > office.now)
        .order_by(Block.start_at, Block.id)
    ).all()
    inside = sa.and_(
        Occupancy.clinic_id == Block.clinic_id,
        Occupancy.resource_id == Block.resource_id,
        Occupancy.start_at < Block.end_at,
        Occupancy.end_at > Block.start_at,
    )
    owner = sa.and_(Appointment.clinic_id == Occupancy.clinic_id, Appointment.id == Occupancy.appointment_id)
    order = (Appointment.arrive_at, Case.reference)
    listed = (
        sa.select(
            Block.id,
            Case.reference,
            sa.func.row_number().over(partition_by=Block.id, order_by=order).label("place"),
            sa.func.count().over(partition_by=Block.id).label("count"),
        )
        .join_from(Block, Occupancy, inside)
        .join(Appointment, owner)
        .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
        .where(Block.clinic_id == office.clinic.id, Block.end_at > office.now, Occupancy.end_at > office.now)
        .subquery()
    )
    rows = office.session.execute(
        sa.select(listed).where(listed.c.place <= SHOWN).order_by(listed.c.id, listed.c.place)
    ).all()
    booked: dict[str, list[str]] = {}
    more: dict[str, int] = {}
    for block_id, reference, _, count in rows:
        booked.setdefault(block_id, []).append(reference)
        more[block_id] = max(count - SHOWN, 0)
    return tuple(
        BlockRow(
            block=each,
            booked=tuple(dict.fromkeys(booked.get(each.id, ()))),
            more=more.get(each.id, 0),
        )
        for each in found
    )


def blocks_between(office: Office, start: dt.datetime, end: dt.datetime) -> Sequence[Block]:
    """Return the blocks that touch [start, end), both aware, in order of their beginning."""
    return office.session.scalars(
        sa.select(Block)
        .where(Block.clinic_id == office.clinic.id, Block.start_at < end, Block.end_at > start)
        .order_by(Block.start_at, Block.id)
    ).all()


def latest_end(office: Office, start: dt.datetime) -> dt.datetime:
    """Return when a block that begins at `start` (aware) must end, by the clinic's profile."""
    local = start.astimezone(office.clinic.zone)
    last = office.clinic.booking.block_most.after(local.date())
    return dt.datetime.combine(last, local.time(), office.clinic.zone).astimezone(dt.UTC)


def block(
    office: Office, staff: Staff, resource_id: str, start: dt.datetime, end: dt.datetime, reason: str
) -> Block:
    """Take [start, end), both aware, from a resource; the same block sent twice is one.

    Raises NotFound for a resource the clinic does not have, ReadOnly for an account that may only read,
    ValueError for a block that ends before it starts, is longer than the clinic allows, or has no
    reason.
    """
    _may_write(staff)
    if resource_id not in {resource.id for resource in office.clinic.resources}:
        raise NotFound(f"{office.clinic.name} has no practitioner or room {resource_id!r}.")
    if end <= start or end > latest_end(office, start) or not reason.strip():
        raise ValueError("A block ends after it starts, is no longer than the clinic allows, and says why.")
    with transaction(office):
        if same := _same(office, resource_id, start, end, reason):
            return same
        made = Block(
            clinic_id=office.clinic.id,
            resource_id=resource_id,
            start_at=start,
            end_at=end,
            staff_id=staff.id,
            staff_name=staff.name,
            reason=reason,
            created_at=office.now,
        )
        office.session.add(made)
        office.session.flush()
        _note(office, staff, "block", made)
    return made


def _same(
    office: Office, resource_id: str, start: dt.datetime, end: dt.datetime, reason: str
) -> Block | None:
    found = office.session.scalars(
        sa.select(Block).where(
            Block.clinic_id == office.clinic.id,
            Block.resource_id == resource_id,
            Block.start_at == start,
            Block.end_at == end,
        )
    )
    return next((block for block in found if block.reason == reason), None)


def unblock(office: Office, staff: Staff, block_id: str) -> None:
    """Give the time of a block back.

    Raises NotFound for a block the clinic does not have (any more), ReadOnly for an account that may
    only read.
    """
    _may_write(staff)
    with transaction(office):
        found = office.session.scalars(
            sa.select(Block)
            .where(Block.clinic_id == office.clinic.id, Block.id == block_id)
            .with_for_update()
        ).one_or_none()
        if found is None:
            raise NotFound("This block is no longer there.")
        office.session.delete(found)
        _note(office, staff, "unblock", found)


def _may_write(staff: Staff) -> None:
    if staff.role != "decide":
        raise ReadOnly("Your account can read the calendar but not change it.")


def _note(office: Office, staff: Staff, action: str, block: Block) -> None:
    audit.record(
        office.session,
        clinic_id=office.clinic.id,
        now=office.now,
        actor=audit.Actor(kind="staff", id=staff.id),
        action=action,
        object_kind="block",
        object_id=block.id,
        payload={
            "resource": block.resource_id,
            "start": block.start_at.isoformat(),
            "end": block.end_at.isoformat(),
            "reason": block.reason,
        },
    )
