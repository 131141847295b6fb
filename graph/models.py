"""Links: typed, weighted and time-bounded, from one address to another in the same namespace."""

from __future__ import annotations

import orjson
from django.db import models
from django.utils import timezone

from memories import coordinates
from memories.coordinates import Coordinate
from memories.models import JsonField, KeyField
from tenants.models import MAX_ID_LENGTH
from tenants.scoping import TenantOwned

MAX_KEY_LENGTH = coordinates.MAX_DIMENSIONS * coordinates.DIGITS_PER_NUMBER
MAX_TYPE_LENGTH = 100
USAGE_SQL = "SELECT 0 AS memories, COALESCE(SUM(bytes), 0) AS bytes FROM sfm_graph_links WHERE tenant_id = %s"
VERSIONS_USAGE_SQL = (
    "SELECT 0 AS memories, COALESCE(SUM(bytes), 0) AS bytes FROM sfm_graph_link_versions WHERE tenant_id = %s"
)
_OF_A_WALK = ("link_type", "strength", "valid_from", "valid_to")
IDENTITY = ("from_key", "to_key", "link_type")
Key = tuple[str, str, str]  # (from, to, type)


class LinkColumns(TenantOwned):
    """The columns that a link and its earlier versions share."""

    namespace = KeyField(max_length=255)
    from_key = KeyField(max_length=MAX_KEY_LENGTH)
    to_key = KeyField(max_length=MAX_KEY_LENGTH)
    link_type = KeyField(max_length=MAX_TYPE_LENGTH)
    strength = models.FloatField(default=1.0)  # from 0 to 1
    valid_from = models.DateTimeField(null=True)  # None if it has no start
    # the time from which the link is no longer valid; None if it has no end
    valid_to = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    metadata = JsonField(default=dict)
    bytes = models.PositiveIntegerField(default=0, db_default=0)  # counts towards the quota: see `size`
    # Set if the link was created with an API key that is limited to a user, or if it belongs to a user's conversation.
    user_id = KeyField(max_length=MAX_ID_LENGTH, null=True)

    user_lookup = "user_id"

    class Meta(TenantOwned.Meta):
        abstract = True

    def __str__(self) -> str:
        return f"{self.start} -{self.link_type}-> {self.end}"

    def size(self) -> int:
        """Return the number of bytes that count towards a quota: both addresses, the type and the metadata."""
        return len(orjson.dumps([self.from_key, self.to_key, self.link_type, self.metadata]))

    @property
    def key(self) -> Key:
        return self.from_key, self.to_key, self.link_type

    @property
    def start(self) -> Coordinate:
        return coordinates.from_key(self.from_key)

    @property
    def end(self) -> Coordinate:
        return coordinates.from_key(self.to_key)


class Link(LinkColumns):
    """A link between two addresses, whether or not there are memories at them."""

    id = models.BigAutoField(primary_key=True)

    class Meta(LinkColumns.Meta):
        db_table = "sfm_graph_links"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "namespace", "from_key", "to_key", "link_type"], name="sfm_links_identity"
            ),
        ]
        # The index includes all columns that a traversal needs, so a traversal reads only the index. In the index, a
        # hub's 10,000 links are adjacent; in the table, they are scattered.
        indexes = [
            models.Index(fields=["tenant", "namespace", "from_key", "to_key", *_OF_A_WALK], name="sfm_links_out"),
            models.Index(fields=["tenant", "namespace", "to_key", "from_key", *_OF_A_WALK], name="sfm_links_in"),
        ]


class LinkVersion(LinkColumns):
    """A link that has been replaced or removed, as it was from its `updated_at` to `until`. See `link_history`."""

    id = models.BigAutoField(primary_key=True)
    until = models.DateTimeField()

    class Meta(LinkColumns.Meta):
        db_table = "sfm_graph_link_versions"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "namespace", "from_key", "to_key", "link_type", "until"], name="sfm_link_versions_out"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "namespace", "to_key", "until"], name="sfm_link_versions_in"),
            models.Index(fields=["tenant", "until"], name="sfm_link_versions_age"),
        ]
