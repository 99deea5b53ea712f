-- Reviews, the newest first, with how far they are. An absent parameter is no condition.
select r.run_id, r.card_id, r.title, r.instructions, r.scores, r.reviewers_per_item, r.blind, r.closed, r.opened_by,
       r.opened_at, r.revision, counted.items, counted.done, counted.scored, counted.assigned
from read.review r
cross join lateral (
    select count(*) as items, count(*) filter (where by_item.scored >= r.reviewers_per_item) as done,
           coalesce(sum(by_item.scored), 0)::bigint as scored, coalesce(sum(by_item.assigned), 0)::bigint as assigned
    from (
        select count(p.scores) as scored, count(p.reviewer) filter (where p.scores is null) as assigned
        from read.review_item i
        left join read.review_part p on p.tenant_id = i.tenant_id and p.review_id = i.review_id
             and p.execution_id = i.execution_id
        where i.tenant_id = r.tenant_id and i.review_id = r.review_id
        group by i.execution_id
    ) by_item
) counted
where r.tenant_id = $1
  and ($2::uuid is null or r.review_id = $2)
  and ($3::bool is null or r.closed = $3)
  and ($4::uuid is null or exists (select from read.review_part p
       where p.tenant_id = r.tenant_id and p.review_id = r.review_id and p.reviewer = $4 and p.scores is null))
  and ($5::timestamptz is null or (r.opened_at, r.review_id) < ($5, $6::uuid))
order by r.opened_at desc, r.review_id desc
limit $7
