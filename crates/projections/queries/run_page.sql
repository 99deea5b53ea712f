-- An absent parameter is no condition; the planner drops it, because the statement is planned with its parameters.
select id, name, status, card_id, card_revision, versions, models, repeats, cases, planned, lane, requested_by,
       requested_at, ended_at, revision, branch, commit_id
from read.run
where tenant_id = $1
  and ($2::uuid is null or card_id = $2)
  and ($3::text is null or status = $3)
  and ($4::timestamptz is null or (requested_at, id) < ($4, $5::uuid))
order by requested_at desc, id desc
limit $6
