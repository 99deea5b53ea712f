-- What waits, by lane and model; $1 is the tenant, or null for all.
with sums as (
    select q.queue_id, count(*) filter (where e.state = 0) as waiting, count(*) filter (where e.state = 2) as pausing,
           count(*) filter (where e.state = 1) as handed_out
    from jobs.queue q join jobs.execution e using (queue_id)
    where $1::int is null or q.tenant_id = $1
    group by q.queue_id
)
select (array['hi', 'std', 'bulk'])[r.lane + 1] as lane, q.kind, q.provider, q.model_id as model, count(*) as runs,
       sum(s.waiting)::bigint as waiting, sum(s.pausing)::bigint as pausing, sum(s.handed_out)::bigint as handed_out,
       extract(epoch from clock_timestamp() - min(case when s.waiting > 0 then greatest(r.added_at, r.not_before) end))::float8
           as oldest_waiting_seconds,
       bool_or(exists (select from jobs.holds_on(
           r.tenant_id, (array['hi', 'std', 'bulk'])[r.lane + 1], q.kind, q.provider, q.model_id))) as held
from sums s join jobs.queue q using (queue_id) join jobs.run r using (run_id)
where s.waiting + s.pausing + s.handed_out > 0
group by r.lane, q.kind, q.provider, q.model_id
order by r.lane, q.kind, q.provider, q.model_id
