-- The same conditions as in prompt_page.sql; an absent parameter is no condition.
select count(*)
from read.card
where tenant_id = $1
  and not archived
  and ($2::text is null or title = $2)
  and ($3::text is null or $3 = 'latest' or jsonb_typeof(labels -> $3) = 'number')
  and ($4::text is null or tags @> array[$4])
  and ($5::timestamptz is null or updated_at >= $5)
  and ($6::timestamptz is null or updated_at < $6)
