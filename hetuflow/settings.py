"""Django settings, all from the environment; every default suits one machine.

The variables are listed in `docs/operations.md`. What a process needs and nobody gave it (secret key,
address of the embedded database) lies in the data folder, so that every command finds the installation
that `make run` made.
"""

import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from environs import Env, validate

from access.addresses import read_networks
from hetuflow import __version__
from hetuflow.api_document import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS
from hetuflow.database_url import parse_database_url, published_address
from hetuflow.navigation import UNFOLD as UNFOLD
from hetuflow.production import refuse_unsafe_settings
from hetuflow.secret_key import read_or_create_secret_key

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("HETUFLOW_DATA_DIR", "") or BASE_DIR / ".hetuflow").absolute()

# --- mode and secrets ---------------------------------------------------------------------------------

ENVIRONMENTS = ("local", "production")
PRODUCTION = env.str("HETUFLOW_ENV", "local", validate=validate.OneOf(ENVIRONMENTS)) == "production"
DEBUG = env.bool("HETUFLOW_DEBUG", False)
_hosts = env.list("HETUFLOW_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
ALLOWED_HOSTS: list[str] = [host.strip() for host in _hosts if host.strip()]
SECRET_KEY = env.str("HETUFLOW_SECRET_KEY", "")
if PRODUCTION:
    refuse_unsafe_settings(debug=DEBUG, secret_key=SECRET_KEY, allowed_hosts=ALLOWED_HOSTS)
elif not SECRET_KEY:
    try:
        SECRET_KEY = read_or_create_secret_key(DATA_DIR)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {DATA_DIR} cannot be used: {error.strerror} ({error.filename}); "
            "choose another one with HETUFLOW_DATA_DIR"
        ) from error

# --- browsers -----------------------------------------------------------------------------------------
# What else a browser is told is in `hetuflow/response_headers.py`.

HTTPS = env.bool("HETUFLOW_HTTPS", False)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("HETUFLOW_TRUSTED_ORIGINS", [])
SESSION_ENGINE = "access.sessions"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    # The proxy speaks TLS and says so in this header; where people reach it without, it sends them on itself.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = env.int("HETUFLOW_HSTS_SECS", 365 * 86_400, validate=validate.Range(min=0))
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains is for whoever owns the domain to decide,
    "security.W021",  # and so is the browsers' preload list
    "security.W008",  # a redirect here would end in a circle where a proxy does not say that it speaks TLS
    "security.W009",  # `hetuflow/production.py` looks closer
]

# --- applications -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "hetuflow",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "hetuflow.admin_config.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "access",
    "rest",
    "agents",
    "scheduling",
    "gateway",
]
MIDDLEWARE = [
    "hetuflow.response_headers.response_headers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    # Outside of the next one, which says in a header what language it was.
    "hetuflow.preferences.Preferences",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "hetuflow.password_throttle.PasswordThrottle",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "hetuflow.urls"
ASGI_APPLICATION = "hetuflow.asgi.application"
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
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["access.backends.RoleBackend"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# --- database -----------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", "") or published_address(DATA_DIR) or "postgresql:///hetuflow"
_database = parse_database_url(DATABASE_URL)
_options = _database["OPTIONS"]
DATABASES = {"default": _database}
# No statement and no open transaction may hold the claim back for longer than an operator would wait.
# A server that froze may hold locks on its agents' rows: they are free before these come to another server.
_options["options"] = (
    f"-c statement_timeout={env.int('HETUFLOW_STATEMENT_TIMEOUT_MS', 30_000)}"
    " -c idle_in_transaction_session_timeout=10000 -c lock_timeout=15000 -c timezone=UTC"
)
_options["application_name"] = "hetuflow"
_options["connect_timeout"] = 5
# Without these, a network that swallows everything is waited for as long as the kernel likes: a quarter of an
# hour where something was sent, two hours where nothing was.
for _name, _value in {
    "tcp_user_timeout": 15_000,  # ms
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}.items():
    _options.setdefault(_name, _value)
DATABASE_POOL_SIZE = env.int("HETUFLOW_DATABASE_POOL_SIZE", 16)
if 0 < DATABASE_POOL_SIZE < 6:
    raise ImproperlyConfigured(
        "HETUFLOW_DATABASE_POOL_SIZE must be 0 (no pool) or at least 6: a server keeps five for its own work"
    )
# Commands that do one thing and end need one connection, and an error at once where there is none.
_one_off = "pytest" in sys.modules or (
    Path(sys.argv[0]).name == "manage.py" and sys.argv[1:2] not in (["server"], ["scheduler"])
)
if DATABASE_POOL_SIZE > 0 and not _one_off:
    # The pool doubles its pause between attempts until `reconnect_timeout`, then begins anew with the next
    # request: with its default of 300 s, a database would be back for minutes before anybody noticed.
    _options["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10, "reconnect_timeout": 4}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# --- API ----------------------------------------------------------------------------------------------

APPEND_SLASH = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "agents.api.authentication.AgentTokenAuthentication",
        "hetuflow.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest.permissions.ByRole"],
    "DEFAULT_THROTTLE_CLASSES": ["rest.throttles.ByCaller"],
    "DEFAULT_PARSER_CLASSES": ["hetuflow.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest.rendering.JSONRenderer",
        "rest.browsable.renderer.BrowsableRenderer",
    ],
    "DEFAULT_METADATA_CLASS": "rest.metadata.Metadata",
    "DEFAULT_SCHEMA_CLASS": "rest.schema.Schema",
    "EXCEPTION_HANDLER": "hetuflow.api.exception_handler",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
DRF_STANDARDIZED_ERRORS = {
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
    "EXCEPTION_FORMATTER_CLASS": "hetuflow.api.OneErrorForEachField",
}

# --- time, language, static files ---------------------------------------------------------------------

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "hetuflow" / "locale"]
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False

# --- Hetuflow -----------------------------------------------------------------------------------------

HETUFLOW_VERSION = __version__
HETUFLOW_HOST = env.str("HETUFLOW_HOST", "127.0.0.1")
HETUFLOW_PORT = env.int("HETUFLOW_PORT", 8000, validate=validate.Range(1, 65535))
HETUFLOW_SERVER_ADDRESS = env.str("HETUFLOW_SERVER_ADDRESS", "")
# Who may tell whence a request came; from others X-Forwarded-For means nothing.
try:
    HETUFLOW_TRUSTED_PROXIES = read_networks(env.list("HETUFLOW_TRUSTED_PROXIES", []))
except ValueError as error:
    raise ImproperlyConfigured(
        f"HETUFLOW_TRUSTED_PROXIES: {error}; expected addresses or networks, such as 10.0.0.0/8,::1"
    ) from error
# Times a minute; 0 is no limit. Passwords count by address, REST by caller.
HETUFLOW_LOGIN_RATE = env.int("HETUFLOW_LOGIN_RATE", 20, validate=validate.Range(0, 10_000))
HETUFLOW_API_RATE = env.int("HETUFLOW_API_RATE", 0, validate=validate.Range(0, 10_000))
# What agents are told when they register; see docs/protocol.md.
HETUFLOW_HEARTBEAT_SECS = env.float("HETUFLOW_HEARTBEAT_SECS", 5.0)
HETUFLOW_LEASE_SECS = env.float("HETUFLOW_LEASE_SECS", 30.0)
HETUFLOW_LEAD_SECS = env.float("HETUFLOW_LEAD_SECS", 2.0)
HETUFLOW_KILL_GRACE_SECS = env.float("HETUFLOW_KILL_GRACE_SECS", 10.0)
HETUFLOW_MAX_CHUNK_BYTES = env.int("HETUFLOW_MAX_CHUNK_BYTES", 128 * 1024)
# How far ahead instants become tasks, and how far back an outage is made good.
HETUFLOW_PLANNING_HORIZON_SECS = env.float("HETUFLOW_PLANNING_HORIZON_SECS", 15.0)
HETUFLOW_CATCH_UP_SECS = env.float("HETUFLOW_CATCH_UP_SECS", 7 * 86_400.0)
# How long ended tasks are kept where no rule says otherwise; 0 is for ever.
HETUFLOW_KEEP_DAYS = env.int("HETUFLOW_KEEP_DAYS", 90, validate=validate.Range(0, 36_500))
# How many lines of each agent's own log are kept within that time; 0 is all of them.
HETUFLOW_KEEP_LOG_LINES = env.int("HETUFLOW_KEEP_LOG_LINES", 10_000, validate=validate.Range(0, 10_000_000))
# What `/api/v1/info` says of the build; a checkout tells it by itself.
HETUFLOW_GIT_COMMIT = env.str("HETUFLOW_GIT_COMMIT", "")
HETUFLOW_GIT_BRANCH = env.str("HETUFLOW_GIT_BRANCH", "")
HETUFLOW_BUILD_TIME = env.datetime("HETUFLOW_BUILD_TIME") if env.str("HETUFLOW_BUILD_TIME", "") else None
# The pump looks at the database at least this often; hints make it look at once.
HETUFLOW_POLL_SECS = env.float("HETUFLOW_POLL_SECS", 2.0)
HETUFLOW_ALLOWED_ENVIRONMENT: list[str] = env.list("HETUFLOW_ALLOWED_ENVIRONMENT", [])

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
    },
    "filters": {"refusals": {"()": "hetuflow.refusals.RefusalsAreNoTrouble"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}},
    "root": {"handlers": ["stderr"], "level": env.str("HETUFLOW_LOG_LEVEL", "INFO")},
    "loggers": {"daphne": {"level": "WARNING"}, "django.channels.server": {"level": "WARNING"}},
}
