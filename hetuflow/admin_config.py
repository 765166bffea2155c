"""Django's admin with our site."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "hetuflow.admin_site.AdminSite"
