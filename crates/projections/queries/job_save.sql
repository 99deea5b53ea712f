insert into job as j (
    tenant_id, id, kind, lane, status, input, output, attempts, worker, error_class, error, requested_by, requested_at,
    not_before, ended_at, revision)
select tenant_id, id, kind, lane, status, input, output, attempts, worker, error_class, error, requested_by, requested_at,
       not_before, ended_at, revision
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, id uuid, kind text, lane text, status text, input jsonb, output jsonb, attempts int, worker text,
    error_class text, error text, requested_by uuid, requested_at timestamptz, not_before timestamptz,
    ended_at timestamptz, revision bigint)
on conflict (tenant_id, id) do update set
    status = excluded.status, output = excluded.output, attempts = excluded.attempts, worker = excluded.worker,
    error_class = excluded.error_class, error = excluded.error, ended_at = excluded.ended_at,
    revision = excluded.revision
