"""Every setting of Hermes, read from the environment and .env; described in docs/settings.md."""

from pathlib import Path

import django_stubs_ext
import environ

from vault.keys import load_or_create_secret_key

# Lets ModelAdmin[Route] and its like be written at run time, too.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()
environ.Env.read_env(env.path("HERMES_ENV_FILE", default=BASE_DIR / ".env"))

# Where Hermes keeps what it writes: database, keys, offloaded payloads, sockets, static files.
HERMES_DATA_DIR = Path(env.str("HERMES_DATA_DIR", default=str(BASE_DIR / "var")))
# A hermes-agent home (config.yaml, skills); empty: none is read. Unset: ~/.hermes, if webhooks are
# enabled in it.
HERMES_HOME = env.str("HERMES_HOME", default=None)

# -- The gateway (spec 001) ---------------------------------------------------------------
WEBHOOK_ENABLED = env.bool("WEBHOOK_ENABLED", default=False)
WEBHOOK_HOST = env.str("WEBHOOK_HOST", default="0.0.0.0")  # noqa: S104  senders come from outside
WEBHOOK_PORT = env.int("WEBHOOK_PORT", default=8644)
WEBHOOK_SECRET = env.str("WEBHOOK_SECRET", default="")
WEBHOOK_RATE_LIMIT = env.int("WEBHOOK_RATE_LIMIT", default=30)  # requests a minute and route
WEBHOOK_MAX_BODY_BYTES = env.int("WEBHOOK_MAX_BODY_BYTES", default=1_048_576)
WEBHOOK_READ_SECONDS = env.float("WEBHOOK_READ_SECONDS", default=10.0)
# The address under which senders and people reach this gateway; used in links and samples.
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://localhost:{WEBHOOK_PORT}").rstrip("/")
# The bearer token of /metrics; empty: this machine alone may read it.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

# -- Sending ------------------------------------------------------------------------------
# Allow agents and the generic webhook channel to live on loopback and private addresses.
OUTBOUND_ALLOW_PRIVATE = env.bool("OUTBOUND_ALLOW_PRIVATE", default=False)
# Platform address overrides, "telegram=http://127.0.0.1:9,github_comment=…"; for tests and proxies.
CHANNEL_API_BASES = env.dict("CHANNEL_API_BASES", default={})
RUNNERS = env.int("RUNNERS", default=1)  # lane runners, each a django-q2 worker of its own
SENDER_THREADS = env.int("SENDER_THREADS", default=32)  # sends in flight per runner
MODEL_THREADS = env.int("MODEL_THREADS", default=64)  # calls of chat endpoints per worker

# -- Retention ----------------------------------------------------------------------------
LEDGER_DAYS = env.int("LEDGER_DAYS", default=30)
PENDING_HOURS = env.int("PENDING_HOURS", default=24)
IDEMPOTENCY_SECONDS = env.int("IDEMPOTENCY_SECONDS", default=3600)
REFUSALS_PER_ROUTE = env.int("REFUSALS_PER_ROUTE", default=200)

# -- Bodies above 1 MB --------------------------------------------------------------------
# A bucket of S3, R2 or their like (needs django-storages[s3]); empty: a folder of the data folder.
OBJECTS_BUCKET = env.str("OBJECTS_BUCKET", default="")
OBJECTS_ENDPOINT = env.str("OBJECTS_ENDPOINT", default="")  # https://<account>.r2.cloudflare…
OBJECTS_REGION = env.str("OBJECTS_REGION", default="auto")
OBJECTS_ACCESS_KEY = env.str("OBJECTS_ACCESS_KEY", default="")
OBJECTS_SECRET_KEY = env.str("OBJECTS_SECRET_KEY", default="")

# -- Keys ---------------------------------------------------------------------------------
KEYS_DIR = Path(env.str("KEYS_DIR", default=str(HERMES_DATA_DIR / "keys")))
VAULT_KEYS = env.list("VAULT_KEYS", default=[])  # newest first; empty: the file in KEYS_DIR
# Ed25519, with which sealed envelopes are signed; newest first; empty: a file in KEYS_DIR.
SIGNING_KEYS = env.list("SIGNING_KEYS", default=[])
SECRET_KEY = env.str("SECRET_KEY", default="") or load_or_create_secret_key(KEYS_DIR)

# -- Django -------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=False)
SECURE_SSL_REDIRECT = HTTPS_ONLY
# What looks after this machine asks it directly, without the proxy and its TLS.
SECURE_REDIRECT_EXEMPT = [r"^metrics$", r"^health/worker$"]
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS_ONLY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "hermes_site.apps.HermesAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "django_q",
    "csp",
    "hermes_site",
    "vault",
    "deliveries",
    "platforms",
    "agents",
    "routes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    }
}

ROOT_URLCONF = "hermes_site.urls"
ASGI_APPLICATION = "hermes_site.asgi.application"
WSGI_APPLICATION = "hermes_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# -- Database -----------------------------------------------------------------------------
DATABASES = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{HERMES_DATA_DIR / 'hermes.sqlite3'}")
}
# Under ASGI each request of Django's has a thread of its own, so a connection it kept would never
# be used again. Receive path and runners live outside requests, and keep theirs all the same.
DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL is worth 4x, IMMEDIATE avoids lock upgrades that fail at once, FULL survives a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-8000; "
            "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON"
        ),
    }
# Joins several machines; one alone needs none.
REDIS_URL = env.str("REDIS_URL", default="")
# How a process tells the sockets of an agent that something has changed: a hint, since they look
# at their rows anyway.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "hermes"},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
# Transactions of the receive path side by side; SQLite has one writer. 0: in the thread that asks.
INTAKE_WRITERS = 1 if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3" else 2
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- django-q2: runs the workers and the clockwork ----------------------------------------
Q_CLUSTER = {
    "name": "hermes",
    "orm": "default",
    "workers": RUNNERS + 1,  # one more for the clockwork and for handing over between slices
    "timeout": 60,
    "retry": 90,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "queue_limit": 2,
    "bulk": 1,
    "poll": 0.2,
    "catch_up": False,
    "guard_cycle": 0.5,
}

# -- REST ---------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {"TITLE": "Hermes", "VERSION": "1", "SERVE_INCLUDE_SCHEMA": False}

# -- Languages, files, logs ---------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = HERMES_DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = HERMES_DATA_DIR / "payloads"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
    "objects": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": OBJECTS_BUCKET,
            "endpoint_url": OBJECTS_ENDPOINT or None,
            "region_name": OBJECTS_REGION,
            "access_key": OBJECTS_ACCESS_KEY or None,
            "secret_key": OBJECTS_SECRET_KEY or None,
            "default_acl": None,
        },
    }
    if OBJECTS_BUCKET
    else {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": HERMES_DATA_DIR / "payloads",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
}

LOG_FORMAT = env.str("LOG_FORMAT", default="text")  # or json
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "hermes_site.logs.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json" if LOG_FORMAT == "json" else "text",
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {"django_q": {"level": "WARNING"}, "django-q": {"level": "WARNING"}},
}
