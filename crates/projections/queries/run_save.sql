insert into run (
    tenant_id, id, name, status, card_id, card_revision, versions, models, repeats, cases, planned, lane,
    requested_by, requested_at, revision, branch, commit_id)
select tenant_id, id, name, status, card_id, card_revision, versions, models, repeats, cases, planned, lane,
       requested_by, requested_at, revision, branch, commit_id
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, id uuid, name text, status text, card_id uuid, card_revision bigint, versions bigint[],
    models jsonb, repeats int, cases bigint, planned bigint, lane text, requested_by uuid,
    requested_at timestamptz, revision bigint, branch text, commit_id text)
on conflict (tenant_id, id) do nothing
