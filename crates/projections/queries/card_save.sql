insert into card as c (
    tenant_id, id, title, description, prompt, category, tags, metadata, created_by, created_at, updated_at,
    version, is_public, archived, labels, case_count, revision)
select tenant_id, id, title, description, prompt, category, tags, metadata, created_by, created_at, updated_at,
       version, is_public, archived,
       -- Beside the versions, under a name that no label can have.
       case when protected_labels = '[]' then labels else labels || jsonb_build_object('@protected', protected_labels) end,
       case_count, revision
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, id uuid, title text, description text, prompt text, category text, tags text[], metadata jsonb,
    created_by uuid, created_at timestamptz, updated_at timestamptz, version bigint, is_public bool, archived bool,
    labels jsonb, protected_labels jsonb, case_count bigint, revision bigint)
on conflict (tenant_id, id) do update set
    title = excluded.title, description = excluded.description, prompt = excluded.prompt,
    category = excluded.category, tags = excluded.tags, metadata = excluded.metadata,
    updated_at = excluded.updated_at, version = excluded.version, is_public = excluded.is_public,
    archived = excluded.archived, labels = excluded.labels, case_count = excluded.case_count,
    revision = excluded.revision
