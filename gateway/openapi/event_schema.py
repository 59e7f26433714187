"""Describe events in OpenAPI: all event types, each with its data."""

import inspect
from typing import Any

from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from domain.photo.events import EVENT_TYPES, Metadata
from store.log.codec import WireEvent


class EventSchema(OpenAPISchemaPlugin):
    """Describe ``WireEvent`` by the event types of the domain, which its annotations lack."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        return field_definition.annotation is WireEvent

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        fields: dict[str, Any] = dict.fromkeys(WireEvent.__struct_fields__, str)
        fields |= {"data": dict[str, Any], "metadata": Metadata}
        schema: Schema = schema_creator.create_component_schema(
            field_definition,
            required=sorted(fields),
            property_fields={
                name: FieldDefinition.from_annotation(annotation, name=name)
                for name, annotation in fields.items()
            },
        )
        schema.description = inspect.cleandoc(WireEvent.__doc__ or "").replace("``", "`")
        kinds = Schema(type=OpenAPIType.STRING, enum=sorted(EVENT_TYPES))
        schema.properties = {**(schema.properties or {}), "type": kinds}
        schema.one_of = [
            Schema(
                description=inspect.cleandoc(data.__doc__ or "").replace("``", "`"),
                properties={
                    "type": Schema(const=name),
                    "data": schema_creator.for_field_definition(
                        FieldDefinition.from_annotation(data)
                    ),
                },
            )
            for name, data in EVENT_TYPES.items()
        ]
        return schema
