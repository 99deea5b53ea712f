-- Takes the next jobs of the kind $3 from the desk: at most $1, of which $2 on average go to whoever waits longest. A fraction of
-- a place is one now and then: where places come free one by one, one of them must not always be theirs, nor never.
--
-- $4 are queues, and $5 the places before which nothing of them waits: what was handed out a moment ago is still in the
-- index, and would be looked at again.
--
-- A queue is one model of one run. Queues that are held, and runs whose time has not come or whose budget is in use, are
-- left out as a whole: nothing of them is looked through. Within a lane the tenant with the smallest virtual time goes
-- next, and a start moves it on by 1/weight: so shares are kept over many calls, however few places each has. Within a
-- tenant runs take turns, whoever was served longest ago first. What is not used by those who have a share goes to the
-- others.
with kept as materialized (
    select floor($2 + random())::bigint as places
), open as materialized (
    select q.queue_id, q.run_id, r.tenant_id, r.lane, r.served_at, q.model_id, q.provider, t.weight, t.passed,
           coalesce(f.place, 0) as front,
           case when r.cost_max is not null or r.tokens_max is not null then
               jobs.budget_room(r.passed + r.failed + r.errors, r.cost, r.cost_max, r.tokens, r.tokens_max)
           end as affordable
    from jobs.queue q join jobs.run r using (run_id) join jobs.tenant t on t.tenant_id = r.tenant_id
         left join unnest($4::bigint[], $5::bigint[]) f (queue_id, place) on f.queue_id = q.queue_id
    where q.kind = $3 and r.not_before <= clock_timestamp()
      and exists (select from jobs.execution e where e.queue_id = q.queue_id and e.state = 0
                  and e.place >= coalesce(f.place, 0))
      and not exists (select from jobs.holds_on(
          r.tenant_id, (array['hi', 'std', 'bulk'])[r.lane + 1], q.kind, q.provider, q.model_id))
), limited as (
    -- A little more than a limit lets begin: what waits for its place waits in a worker's slot.
    select o.queue_id, min(least(
               l.concurrency + l.concurrency / 4 + 1,
               l.requests_per_minute / 30 + 1)) as places
    from open o join jobs.rate_limit l on l.tenant_id = o.tenant_id and l.key in (o.provider, o.model_id)
    group by o.queue_id
), counted as (
    select o.*, l.places, case when l.places is not null or o.affordable is not null then
               (select count(*) from jobs.execution e where e.queue_id = o.queue_id and e.state = 1) else 0 end as out
    from open o left join limited l using (queue_id)
), backlog as materialized (
    select c.*, count(*) over (partition by lane, tenant_id) as queues,
           min(served_at) over (partition by lane, tenant_id) as tenant_served_at,
           -- One at least where none is out: what is left may be less than an average, and has to be found out.
           least(places - out, case when affordable is not null then
                     greatest(affordable - sum(out) over (partition by run_id),
                              case when sum(out) over (partition by run_id) = 0 then 1 end) end) as room
    from counted c
), tenants as (
    select lane, sum(weight) as weights from (select distinct lane, tenant_id, weight from backlog) t group by lane
), waiting as (
    select e.execution_id, e.at, e.place, b.run_id, b.lane, b.tenant_id, b.weight, b.passed, b.served_at, b.tenant_served_at,
           e.nth
    from backlog b join tenants t using (lane)
    cross join lateral (
        select execution_id, at, place, row_number() over (order by place) as nth
        from (select execution_id, ctid as at, place from jobs.execution
              where queue_id = b.queue_id and state = 0 and place >= b.front order by place
              limit least(b.room, 1 + ceil($1::numeric * b.weight / t.weights / b.queues))) first
    ) e
    where b.room is null or b.room > 0
), of_runs as (
    select *, row_number() over (partition by run_id order by nth, place) as nth_of_run from waiting
), of_tenants as (
    select *, row_number() over (partition by lane, tenant_id order by nth_of_run, served_at, place) as turn from of_runs
), oldest as materialized (
    select execution_id, at from of_tenants order by place limit (select places from kept)
), fair as materialized (
    select execution_id, at from of_tenants where execution_id not in (select execution_id from oldest)
    order by lane, passed + turn::float8 / weight, tenant_served_at, place limit $1 - (select places from kept)
), taken as materialized (
    select execution_id, at from oldest union all select execution_id, at from fair
), rest as (
    select e.at from backlog b
    cross join lateral (
        select ctid as at, place from jobs.execution
        where queue_id = b.queue_id and state = 0 and place >= b.front
          and execution_id <> all (array(select execution_id from taken))
        order by place limit $1 - (select count(*) from taken)
    ) e
    where b.room is null order by b.lane, e.place limit $1 - (select count(*) from taken)
), released as (
    update jobs.execution e
    set state = 1, dispatch_id = coalesce(e.dispatch_id, gen_random_uuid()), dispatched_at = clock_timestamp()
    -- Where they were found, which saves a descent of an index each; one that was moved meanwhile is taken the next time.
    -- As an array: for a join the whole table would be read, for its rows are guessed to be many.
    where e.ctid = any (array(select at from taken union all select at from rest)) and e.state = 0
    returning e.*
), served as (
    update jobs.run r set served_at = clock_timestamp() from (select distinct run_id from released) s
    where r.run_id = s.run_id
    returning r.run_id, r.trace
), moved as (
    update jobs.tenant t set passed = t.passed + s.starts::float8 / t.weight
    from (select tenant_id, count(*) as starts from released group by tenant_id) s where t.tenant_id = s.tenant_id
    returning t.tenant_id
)
select e.execution_id, e.kind, e.tenant_id, e.run_id, e.lane, e.version, e.case_id, e.model, e.repeat, e.attempt, e.snoozes,
       e.dispatch_id, e.queue_id, e.place, s.trace, l.queue_id is not null as limited
from released e join served s using (run_id) left join limited l on l.queue_id = e.queue_id
