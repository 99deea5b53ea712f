-- An absent parameter is no condition; the planner drops it, because the statement is planned with its parameters.
select id, kind, lane, status, input, output, attempts, worker, error_class, error, requested_by, requested_at,
       not_before, ended_at, revision
from read.job
where tenant_id = $1
  and ($2::text is null or kind = $2)
  and ($3::text is null or status = $3)
  and ($4::timestamptz is null or (requested_at, id) < ($4, $5::uuid))
order by requested_at desc, id desc
limit $6
