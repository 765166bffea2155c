"""All HTTP paths. REST paths have no trailing slash; the contract with clients is `docs/rest.md`."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerView

from gateway.api.system import PrometheusView
from hetuflow.access_api import AuditViewSet, TokenViewSet, WhoAmIView
from hetuflow.api import UnknownPath
from rest.openapi.views import SchemaView
from rest.root import RootView
from rest.routing import resource_paths
from scheduling.admin.dashboard import overview_view
from scheduling.admin.finding import find_view
from scheduling.admin.saved_filters import saved_filters_view

handler400 = "hetuflow.refusals.bad_request"
handler500 = "hetuflow.refusals.server_error"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("hetuflow/icon.svg"))),
    path("admin/overview/", admin.site.admin_view(overview_view), name="overview"),
    path("admin/saved-filters/", admin.site.admin_view(saved_filters_view), name="saved_filters"),
    path("admin/find/", admin.site.admin_view(find_view), name="find"),
    path("admin/", admin.site.urls),
    path("metrics", PrometheusView.as_view(), name="prometheus"),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema", metadata_class=None), name="docs"),
    path("api/redoc", SpectacularRedocView.as_view(url_name="schema", metadata_class=None), name="redoc"),
    path("api/v1", RootView.as_view(), name="api_root"),
    path("api/v1/", include("gateway.api.urls")),
    path("api/v1/", include("scheduling.api.urls")),
    path("api/v1/whoami", WhoAmIView.as_view()),
    *resource_paths("api/v1/tokens", TokenViewSet, only=("list", "query", "retrieve", "create", "destroy")),
    *resource_paths("api/v1/audit", AuditViewSet, only=("list", "query", "retrieve")),
    re_path(r"^api(?:/|$)", UnknownPath.as_view()),
]
