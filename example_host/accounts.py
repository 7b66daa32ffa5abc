"""Staff accounts of the site: e-mail and password, kept in the site's own table."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import UserMixin, current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import PasswordField, StringField

from example_host.extensions import db, limiter, login
from intake_plugin import Staff

accounts = Blueprint("accounts", __name__, url_prefix="/staff")
table = sa.Table(
    "account",
    db.metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(254), nullable=False, unique=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
)
NOBODY = generate_password_hash("")


@dataclass(frozen=True)
class Account(UserMixin):
    """Somebody who works at the clinic."""

    id: int
    email: str
    name: str
    password_hash: str


class SignIn(FlaskForm):
    email = StringField()
    password = PasswordField()


def find(where: sa.ColumnElement[bool]) -> Account | None:
    row = db.session.execute(sa.select(table).where(where)).one_or_none()
    return None if row is None else Account(*row)


def add(email: str, name: str, password: str) -> None:
    """Write a new account and commit."""
    values = {"email": email.strip().lower(), "name": name, "password_hash": generate_password_hash(password)}
    db.session.execute(sa.insert(table).values(values))
    db.session.commit()


@login.user_loader
def load(user_id: str) -> Account | None:
    return find(table.c.id == int(user_id)) if user_id.isdecimal() else None


def current_staff() -> Staff | None:
    """Tell the intake plugin who is working now."""
    if not current_user.is_authenticated:
        return None
    return Staff(id=current_user.get_id(), name=current_user.name, role="decide")


def _with_password(email: str, password: str) -> Account | None:
    account = find(table.c.email == email.strip().lower())
    # An unknown address costs as much time as a wrong password, so that neither can be told apart.
    fits = check_password_hash(account.password_hash if account else NOBODY, password)
    return account if account and fits else None


def _on_this_site(target: str | None) -> str | None:
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return None
    parts = urlsplit(target)
    return None if parts.scheme or parts.netloc else target


@accounts.route("/sign-in", methods=["GET", "POST"])
@limiter.limit("10 per minute", methods=["POST"])
def sign_in() -> ResponseReturnValue:
    form = SignIn()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    account = _with_password(form.email.data or "", form.password.data or "")
    if account is None:
        problem = "Enter the e-mail address and password of a staff account."
        return render_template("login.html", form=form, problem=problem), 422
    login_user(account)
    return redirect(_on_this_site(request.args.get("next")) or url_for(".home"), code=303)


@accounts.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    logout_user()
    return redirect(url_for("site.home"), code=303)


@accounts.get("/")
@login_required
def home() -> str:
    return render_template("staff.html")
