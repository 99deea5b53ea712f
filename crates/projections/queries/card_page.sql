-- An absent parameter is no condition; the planner drops it, because the statement is planned with its parameters.
select id, title, description, prompt, category, tags, metadata, created_by, created_at, updated_at,
       version, is_public, archived, labels, case_count, revision
from read.card
where tenant_id = $1
  and ($2::text is null or search @@ websearch_to_tsquery('english', $2))
  and ($3::text is null or title = $3)
  and ($4::text is null or category = $4)
  and ($5::text is null or tags @> array[$5])
  and ($6::bool is null or is_public = $6)
  and ($7::bool is null or archived = $7)
  and ($8::timestamptz is null or (created_at, id) < ($8, $9::uuid))
order by created_at desc, id desc
limit $10
