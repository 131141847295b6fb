"""Create indexes for filters and for the purge, and set PostgreSQL storage options for the tables that change most.

tests/somamemory/test_plans.py shows which query uses which index.
"""

from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline, RunOnPostgreSQL

# Indexes for equality conditions on payload and metadata: see memories.filters.
JSON_INDEXES = {
    column: [
        f"DROP INDEX CONCURRENTLY IF EXISTS sfm_memories_{column}",  # in case an interrupted attempt left one behind
        f"CREATE INDEX CONCURRENTLY sfm_memories_{column} ON sfm_memories USING gin ({column} jsonb_path_ops)",
    ]
    for column in ("payload", "metadata")
}
# Autovacuum removes dead rows and renews statistics after 2% of the rows have changed instead of 20%: with a million
# memories, every 20,000 changes. Each outbox row is written three times. `fillfactor` leaves room in each page, so that
# updating read counts does not change any index.
TABLES = """
    ALTER TABLE sfm_memories SET (
        fillfactor = 90,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,
        autovacuum_vacuum_insert_scale_factor = 0.05
    );
    ALTER TABLE sfm_vector_embeddings SET (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05
    )
"""
TABLES_REVERSE = """
    ALTER TABLE sfm_memories RESET (
        fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor,
        autovacuum_vacuum_insert_scale_factor
    );
    ALTER TABLE sfm_vector_embeddings RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("memories", "0004_jobs")]
    operations = [
        AddIndexOnline(
            "memory",
            models.Index(
                fields=["tenant", "namespace", "memory_type", "deleted_at", "expires_at"], name="sfm_memories_type"
            ),
        ),
        AddIndexOnline(
            "memory",
            models.Index(
                fields=["tenant", "namespace", "importance"],
                name="sfm_memories_importance",
                condition=models.Q(importance__gt=0),
            ),
        ),
        AddIndexOnline(
            "memory",
            models.Index(
                fields=["deleted_at"], name="sfm_memories_deleted", condition=models.Q(deleted_at__isnull=False)
            ),
        ),
        *[
            RunOnPostgreSQL(statements, f"DROP INDEX CONCURRENTLY sfm_memories_{column}")
            for column, statements in JSON_INDEXES.items()
        ],
        RunOnPostgreSQL(TABLES, TABLES_REVERSE),
    ]
