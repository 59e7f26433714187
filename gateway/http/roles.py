"""The rights of those who send requests: scopes, and the roles that are sets of scopes.

| scope | allows | client | auditor | operator |
|---|---|---|---|---|
| ``photos.read`` | see photos, their files, jobs and histories | its own | all | all |
| ``photos.write`` | upload, process and delete photos | its own | | all |
| ``events.read`` | follow rooms | its own | all | all |
| ``ops.read`` | see queues, jobs, dead letters, clients, settings | | yes | yes |
| ``ops.write`` | control the pipeline, set quotas, revoke access | | | yes |
| ``audit.read`` | see what operators did | | yes | yes |
| ``priority:high`` | use the priorities 1 to 3 | if its token has it | | yes |

``gateway.access.route_scopes`` says which scope each route needs. A token has the scopes of its
role; an API key has only those that it was created with.
"""

import enum

PHOTOS_READ = "photos.read"
PHOTOS_WRITE = "photos.write"
EVENTS_READ = "events.read"
OPS_READ = "ops.read"
OPS_WRITE = "ops.write"
AUDIT_READ = "audit.read"

PRIORITY_HIGH = "priority:high"
"""The scope that allows the priorities 1 to 3."""


class Role(enum.StrEnum):
    """The rights of a principal: use its own photos, do everything, or read everything."""

    CLIENT = "client"
    OPERATOR = "operator"
    AUDITOR = "auditor"


SCOPES_OF: dict[Role, frozenset[str]] = {
    Role.CLIENT: frozenset({PHOTOS_READ, PHOTOS_WRITE, EVENTS_READ}),
    Role.AUDITOR: frozenset({PHOTOS_READ, EVENTS_READ, OPS_READ, AUDIT_READ}),
    Role.OPERATOR: frozenset(
        {PHOTOS_READ, PHOTOS_WRITE, EVENTS_READ, OPS_READ, OPS_WRITE, AUDIT_READ, PRIORITY_HIGH}
    ),
}
