"""What differs between environments comes from the platform; without it, it is a
developer's machine with SQLite."""

import os
from pathlib import Path

import dj_database_url

FOLDER = Path(__file__).resolve().parent.parent
DEBUG = "TIDE_APP" not in os.environ
SECRET_KEY = "only on a developer's machine" if DEBUG else os.environ["SECRET_KEY"]

# The edge passes on requests for the names of this environment only, and says by
# which scheme they came.
ALLOWED_HOSTS = ["*"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "postcards",
]
MIDDLEWARE = [
    "postcards.middleware.instance",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "postcards.urls"
WSGI_APPLICATION = "postcards.wsgi.application"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]

# Each thread keeps a connection: instances x 8 of them, see services in tide.yaml.
DATABASES = {"default": dj_database_url.config(default=f"sqlite:///{FOLDER}/db.sqlite3", conn_max_age=60)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATIC_ROOT = FOLDER / "static"
if not DEBUG:
    STATICFILES_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
MEDIA_ROOT = os.environ.get("FILES_PICTURES", FOLDER / "pictures")
# Whoever restores pictures or looks at them by hand need not be the app.
FILE_UPLOAD_PERMISSIONS = 0o644

TIME_ZONE = "UTC"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"output": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["output"], "level": "WARNING"},
}
