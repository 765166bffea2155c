"""The form of a job: its own fields and those of its configuration, as one."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from scheduling.admin.config_fields import config_fields, config_from, config_initial
from scheduling.admin.fields import (
    CodeWidget,
    EditorWidget,
    PairsField,
    SchemaField,
    ScriptField,
    TagsField,
)
from scheduling.admin.pages import ServiceForm
from scheduling.models import Job

OWN_FIELDS = (
    "name",
    "namespace",
    "description",
    "enabled",
    "tags",
    "command",
    "environment",
    "parameters_schema",
)


class _JobFields(ServiceForm):
    aliases: ClassVar[dict[str, str]] = {"config": "cmd", "config.resource_limits": "max_memory_mb"}

    command = ScriptField(
        label=_("Script"),
        required=False,
        widget=EditorWidget(
            rows=14, language="bash", by="id_cmd", placeholder='echo "Hello from $HETUFLOW_SCHEDULED_AT"'
        ),
        help_text=_("The environment says what runs: $HETUFLOW_TASK_ID, $HETUFLOW_PARAM_DAY …"),
    )
    environment = PairsField(
        label=_("Environment"),
        widget=CodeWidget(rows=3, placeholder="STAGE=test"),
        help_text=_("NAME=value, one a line, or a JSON object."),
    )
    parameters_schema = SchemaField(
        label=_("Schema of the parameters"),
        widget=EditorWidget(
            rows=10,
            placeholder='{"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}',
        ),
        help_text=_(
            "A JSON Schema. The parameters of every run must fit it, and “Run now” asks for them in a form. "
            "Empty: any parameters."
        ),
    )
    tags = TagsField(
        label=_("Tags"),
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "nightly, finance"}),
        help_text=_("Words with commas between them."),
    )
    description = forms.CharField(
        label=_("Description"), required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )
    enabled = forms.BooleanField(
        label=_("Enabled"), required=False, initial=True, widget=UnfoldBooleanSwitchWidget()
    )

    class Meta:
        model = Job
        fields = OWN_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        instance = kwargs.get("instance")
        initial = config_initial(instance.config if instance is not None else {})
        kwargs["initial"] = {**initial, **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)

    def service_fields(self) -> dict[str, Any]:
        """Return what the services take: the fields that were changed, or of a new job all."""
        changed = set(self.changed_data if self.instance.pk else self.fields)
        fields = {name: self.cleaned_data[name] for name in OWN_FIELDS if name in changed}
        config = config_from(self.cleaned_data, changed)
        return {**fields, **({"config": config} if config else {})}


JobForm: type[_JobFields] = type("JobForm", (_JobFields,), config_fields())
