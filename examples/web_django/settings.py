"""Django's settings: its database is the one that MOTET_STORE names."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

STORE = os.environ.get("MOTET_STORE", "sqlite:///motet.db")


def database(address: str) -> dict[str, object]:
    """A store's address as Django writes it."""
    if address.startswith("sqlite"):
        # IMMEDIATE: what will write says so when it begins, and waits for its turn instead of failing in the middle.
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        return {
            "ENGINE": "django.db.backends.sqlite3", "OPTIONS": options,
            "NAME": str(Path(address.removeprefix("sqlite:///")).absolute()),
        }  # fmt: skip
    parts = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": parts.path.strip("/"), "HOST": parts.hostname or "",
        "PORT": parts.port or "", "USER": unquote(parts.username or ""), "PASSWORD": unquote(parts.password or ""),
        "CONN_MAX_AGE": 60,
    }  # fmt: skip


SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for trying it out")
PAYMENT_SECRET = os.environ.get("PAYMENT_SECRET", "only for trying it out")
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [__package__ or ""]
ROOT_URLCONF = f"{__package__}.urls"
DATABASES = {"default": database(STORE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
