-- Takes the next executions from the desk: at most $1, of which $2 on average go to whoever waits longest. A fraction of
-- a place is one now and then: where places come free one by one, one of them must not always be theirs, nor never.
--
-- Within a lane each tenant that has work gets the same share, and within a tenant each run; what some don't use goes to
-- the others. Whoever was served longest ago goes first, so a share of less than one is a turn now and then.
with kept as materialized (
    select floor($2 + random())::bigint as places
), backlog as materialized (
    select r.run_id, r.tenant_id, r.lane, r.served_at,
           min(r.served_at) over (partition by r.lane, r.tenant_id) as tenant_served_at,
           count(*) over (partition by r.lane, r.tenant_id) as runs
    from jobs.run r
    where exists (select from jobs.execution e where e.run_id = r.run_id and e.state = 0)
), tenants as (
    select lane, count(distinct tenant_id) as tenants from backlog group by lane
), oldest as materialized (
    select execution_id from jobs.execution where state = 0 order by place limit (select places from kept)
), turns as (
    select e.execution_id, e.place, b.lane, b.tenant_id, b.served_at, b.tenant_served_at, e.nth
    from backlog b join tenants t using (lane)
    cross join lateral (
        select execution_id, place, row_number() over (order by place) as nth
        from (select execution_id, place from jobs.execution where run_id = b.run_id and state = 0
              order by place limit greatest(1, ceil($1::numeric / t.tenants / b.runs))) waiting
    ) e
), ordered as (
    select execution_id, lane, tenant_served_at, place,
           row_number() over (partition by lane, tenant_id order by nth, served_at, place) as turn
    from turns
), fair as materialized (
    select execution_id from ordered where execution_id not in (select execution_id from oldest)
    order by lane, turn, tenant_served_at, place limit $1 - (select places from kept)
), rest as (
    select execution_id from jobs.execution
    where state = 0 and execution_id not in (select execution_id from oldest)
      and execution_id not in (select execution_id from fair)
    order by lane, place limit greatest(0, $1 - (select count(*) from oldest) - (select count(*) from fair))
), next as materialized (
    select execution_id from oldest union all select execution_id from fair union all select execution_id from rest
), released as (
    update jobs.execution e
    set state = 1, dispatch_id = coalesce(e.dispatch_id, gen_random_uuid()), dispatched_at = clock_timestamp()
    -- As an array: for a join the whole table would be read, for its rows are guessed to be many.
    where e.execution_id = any (array(select execution_id from next)) and e.state = 0
    returning e.*
), served as (
    update jobs.run r set served_at = clock_timestamp() from (select distinct run_id from released) s
    where r.run_id = s.run_id
    returning r.run_id, r.trace
)
select e.execution_id, e.tenant_id, e.run_id, e.lane, e.version, e.case_id, e.model, e.repeat, e.attempt, e.dispatch_id,
       s.trace
from released e join served s using (run_id)
