insert into regrade as g (
    tenant_id, id, run_id, card_id, name, status, answers, passed, failed, turned_to_passed, turned_to_failed, verdicts,
    requested_by, requested_at, ended_at, revision)
select tenant_id, id, run_id, card_id, name, status, answers, passed, failed, turned_to_passed, turned_to_failed, verdicts,
       requested_by, requested_at, ended_at, revision
from jsonb_to_recordset($1::jsonb) as r (
    tenant_id int, id uuid, run_id uuid, card_id uuid, name text, status text, answers bigint, passed bigint,
    failed bigint, turned_to_passed bigint, turned_to_failed bigint, verdicts bigint, requested_by uuid,
    requested_at timestamptz, ended_at timestamptz, revision bigint)
on conflict (tenant_id, id) do update set
    status = excluded.status, answers = excluded.answers, passed = excluded.passed, failed = excluded.failed,
    turned_to_passed = excluded.turned_to_passed, turned_to_failed = excluded.turned_to_failed,
    verdicts = excluded.verdicts, ended_at = excluded.ended_at, revision = excluded.revision
