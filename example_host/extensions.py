"""The extension objects of the site, created once and bound to each app in `create_app`."""

from __future__ import annotations

from flask_babel import Babel
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
csrf = CSRFProtect()
babel = Babel()
# One process serves the demonstration; a site with more of them counts in Redis or the like.
limiter = Limiter(get_remote_address, storage_uri="memory://")
login = LoginManager()
login.login_view = "accounts.sign_in"
login.login_message = None
