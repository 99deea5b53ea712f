insert into test_case as c (
    tenant_id, card_id, case_id, ordinal, name, input, expected_output, assertions, threshold, tags, metadata,
    subject, created_at,
    removed)
select tenant_id, card_id, case_id, ordinal, name, input, expected_output, assertions, threshold, tags, metadata,
       subject, created_at,
       removed
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, card_id uuid, case_id uuid, ordinal bigint, name text, input jsonb,
    expected_output text, assertions jsonb, threshold double precision, tags jsonb, metadata jsonb, subject jsonb, created_at timestamptz, removed bool)
on conflict (tenant_id, card_id, case_id) do update set
    ordinal = excluded.ordinal, name = excluded.name, input = excluded.input,
    expected_output = excluded.expected_output, assertions = excluded.assertions, threshold = excluded.threshold,
    tags = excluded.tags, metadata = excluded.metadata, subject = excluded.subject,
    created_at = excluded.created_at, removed = excluded.removed
