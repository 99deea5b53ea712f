-- The job system beyond handing out: leadership with terms, pauses, weights, provider limits, dead letters, schedules.
-- All of it but the leader, the fleet and what is in flight follows from the log.

-- Who leads. The database issues the term and says how late it is; every write of a leader names its term.
create table jobs.leader (
    one bool primary key default true check (one),
    term bigint not null default 0,
    holder text not null default '',
    expires_at timestamptz not null default '-infinity',
    -- Whether the leader's connection to the broker is up.
    broker bool not null default false
) with (fillfactor = 10);
insert into jobs.leader default values;

-- passed: the tenant's virtual time, which a start moves on by 1/weight. Whose is smallest goes next.
create table jobs.tenant (
    tenant_id int primary key,
    weight int not null default 1,
    passed double precision not null default 0
) with (fillfactor = 50);
insert into jobs.tenant (tenant_id) select distinct tenant_id from jobs.run;

-- What a run may do: results are its count, cost and tokens what they took.
alter table jobs.run
    add column added_at timestamptz not null default clock_timestamp(),
    add column not_before timestamptz not null default '-infinity',
    add column start_by timestamptz not null default 'infinity',
    add column end_by timestamptz not null default 'infinity',
    add column cost bigint not null default 0,
    add column cost_max bigint,
    add column tokens bigint not null default 0,
    add column tokens_max bigint;

-- One row for each model of each run: what is held back is held back by model, so nothing held is ever looked through.
create table jobs.queue (
    queue_id bigint primary key generated always as identity,
    run_id uuid not null,
    tenant_id int not null,
    kind text not null,
    model text not null,
    model_id text not null,
    provider text not null
);
create index queue_run on jobs.queue (run_id);

-- lost: workers that vanished with it in hand; claimed_by: who has the hand-over since it was delivered again.
alter table jobs.execution
    add column queue_id bigint,
    add column snoozes smallint not null default 0,
    add column lost smallint not null default 0,
    add column claimed_by text;
-- Until the scheduler knows them better, the models of runs that are under way are called as they are named.
insert into jobs.queue (run_id, tenant_id, kind, model, model_id, provider)
    select distinct e.run_id, e.tenant_id, 'test_execution', e.model, e.model, split_part(e.model, ':', 1)
    from jobs.execution e;
update jobs.execution e set queue_id = q.queue_id from jobs.queue q where q.run_id = e.run_id and q.model = e.model;
alter table jobs.execution alter column queue_id set not null;
drop index jobs.execution_of_run;
drop index jobs.execution_oldest;
drop index jobs.execution_waiting;
-- Few are handed out at a time: what is looked for among them by its age is found among all of them.
drop index jobs.execution_dispatched;
create index execution_of_queue on jobs.execution (queue_id, place) where state = 0;
create index execution_of_queue_out on jobs.execution (queue_id) where state = 1;
create index execution_of_queue_pausing on jobs.execution (queue_id) where state = 2;
-- A run's are found by its queues: each index more is written twice for each job.
drop index jobs.execution_run;

-- What ended without an answer: dead letters with their class, and what had no result when its run was cancelled.
create table jobs.undone (
    execution_id uuid primary key,
    tenant_id int not null,
    run_id uuid not null,
    card_id uuid not null,
    version int not null,
    case_id uuid not null,
    model text not null,
    repeat smallint not null,
    class text,
    attempts smallint not null,
    worker text not null,
    error text not null,
    at timestamptz not null,
    position bigint not null
);
create index undone_run on jobs.undone (run_id);
create index undone_dead on jobs.undone (tenant_id, position) where class is not null;

-- What is not handed out: by a policy for good, by a provider's word, a full limit or an open circuit for a while.
create table jobs.hold (
    tenant_id int not null,
    source text not null check (source in ('policy', 'parked', 'limit', 'circuit')),
    scope text not null check (scope in ('everything', 'lane', 'kind', 'provider', 'model')),
    value text not null,
    until timestamptz not null,
    reason text not null,
    since timestamptz not null,
    primary key (tenant_id, source, scope, value)
);

-- What keeps something from being handed out now. It answers rows and not a yes or no, because only then the planner puts
-- its text in the place of its call; a call for each queue of each release would cost more than the rest of it.
create function jobs.holds_on(a_tenant int, a_lane text, a_kind text, a_provider text, a_model text)
returns setof jobs.hold language sql stable as $$
    select h.* from jobs.hold h
    where h.tenant_id = a_tenant and h.until > clock_timestamp() and (
        h.scope = 'everything'
        or (h.scope = 'lane' and h.value = a_lane)
        or (h.scope = 'kind' and h.value = a_kind)
        or (h.scope = 'provider' and h.value = a_provider)
        or (h.scope = 'model' and h.value = a_model))
$$;

-- Limits as points in time: when the next call may begin by each of them.
create table jobs.rate_limit (
    tenant_id int not null,
    key text not null,
    requests_per_minute bigint,
    input_tokens_per_minute bigint,
    output_tokens_per_minute bigint,
    concurrency bigint,
    requests_at timestamptz not null default '-infinity',
    input_at timestamptz not null default '-infinity',
    output_at timestamptz not null default '-infinity',
    primary key (tenant_id, key)
) with (fillfactor = 20);

-- Calls that have their place. expires_at frees it whatever happens to the worker, and the end of its run does.
create table jobs.reservation (
    dispatch_id uuid primary key,
    tenant_id int not null,
    run_id uuid not null,
    provider text not null,
    model_id text not null,
    worker text not null,
    content text,
    input_tokens bigint not null,
    output_tokens bigint not null,
    start_at timestamptz not null,
    expires_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index reservation_provider on jobs.reservation (tenant_id, provider);
create index reservation_content on jobs.reservation (tenant_id, content) where content is not null;

-- Failures in a row of a provider; at some number its circuit opens.
create table jobs.endpoint (
    tenant_id int not null,
    provider text not null,
    failures int not null,
    opened int not null default 0,
    primary key (tenant_id, provider)
) with (fillfactor = 20);

-- Answers by their question's content.
create table jobs.answer (
    tenant_id int not null,
    content text not null,
    answer jsonb not null,
    at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, content)
);
create index answer_at on jobs.answer (at);

-- Schedules that are not deleted, and when each is due.
create table jobs.schedule (
    schedule_id uuid primary key,
    tenant_id int not null,
    name text not null,
    paused bool not null default false,
    due_at timestamptz not null,
    last_due_at timestamptz,
    last_run_id uuid
);
create index schedule_due on jobs.schedule (due_at) where not paused;

-- The workers that were heard of lately, as the leader heard them.
create unlogged table jobs.worker (
    worker text primary key,
    kind text not null,
    slots int not null,
    in_flight int not null,
    draining bool not null,
    build text not null,
    since timestamptz not null,
    heard_at timestamptz not null
);

-- What the relays have counted since the tables were made.
create table jobs.counter (name text primary key, value bigint not null) with (fillfactor = 10);

-- Reserves a place for a call. Answers the milliseconds until it may begin; below zero, the milliseconds after which to
-- ask again. The same hand-over that asks twice has one place.
create function jobs.reserve(
    a_tenant int, a_run uuid, a_provider text, a_model text, a_lane text, a_kind text, a_dispatch uuid, a_worker text,
    a_content text, a_input bigint, a_output bigint, a_call_ms bigint, a_ahead_ms bigint, a_circuit_failures int
) returns bigint language plpgsql as $$
declare
    l record;
    a_now timestamptz := clock_timestamp();
    begins timestamptz := a_now;
    known timestamptz;
    taken bigint;
    by_tokens bool := false;
begin
    select start_at into known from jobs.reservation where dispatch_id = a_dispatch;
    if found then
        -- Something may be held since it was given.
        if exists (select from jobs.holds_on(a_tenant, a_lane, a_kind, a_provider, a_model)) then
            perform jobs.settle(a_dispatch, 0, 0);
            return -1;
        end if;
        return greatest(0, extract(epoch from known - a_now) * 1000)::bigint;
    end if;
    -- The job goes back to the desk at once: it is not handed out while it is held.
    if exists (select from jobs.holds_on(a_tenant, a_lane, a_kind, a_provider, a_model)) then
        return -1;
    end if;
    -- A circuit that was open lets one call through, to find out.
    if exists (select from jobs.endpoint where tenant_id = a_tenant and provider = a_provider
               and failures >= a_circuit_failures for update) then
        perform from jobs.reservation where tenant_id = a_tenant and provider = a_provider and expires_at > a_now;
        if found then
            return -1000;
        end if;
    end if;
    -- The same question is being asked: its answer will do.
    if a_content is not null then
        perform pg_advisory_xact_lock(hashtextextended(a_content, a_tenant));
        perform from jobs.reservation where tenant_id = a_tenant and content = a_content and expires_at > a_now;
        if found then
            return -250;
        end if;
    end if;
    for l in select * from jobs.rate_limit where tenant_id = a_tenant and key in (a_provider, a_model) order by key for update loop
        if l.concurrency is not null then
            select count(*) into taken from jobs.reservation
            where tenant_id = a_tenant and provider = a_provider and expires_at > a_now
              and (l.key = a_provider or model_id = a_model);
            if taken >= l.concurrency then
                return -100;
            end if;
        end if;
        by_tokens := by_tokens or l.input_tokens_per_minute is not null or l.output_tokens_per_minute is not null;
        begins := greatest(
            begins,
            case when l.requests_per_minute is not null then l.requests_at else begins end,
            case when l.input_tokens_per_minute is not null then l.input_at else begins end,
            case when l.output_tokens_per_minute is not null then l.output_at else begins end);
    end loop;
    if begins > a_now + a_ahead_ms * interval '1 millisecond' then
        -- Calls give back the tokens that they were thought to take and did not: there may be room much earlier.
        return -greatest(1, least(extract(epoch from begins - a_now) * 1000 - a_ahead_ms / 2,
                                  case when by_tokens then 250 end))::bigint;
    end if;
    update jobs.rate_limit set
        requests_at = case when requests_per_minute is null then requests_at else
            greatest(requests_at, a_now) + interval '1 minute' / requests_per_minute end,
        input_at = case when input_tokens_per_minute is null then input_at else
            greatest(input_at, a_now) + interval '1 minute' * (a_input::float8 / input_tokens_per_minute) end,
        output_at = case when output_tokens_per_minute is null then output_at else
            greatest(output_at, a_now) + interval '1 minute' * (a_output::float8 / output_tokens_per_minute) end
    where tenant_id = a_tenant and key in (a_provider, a_model);
    insert into jobs.reservation (dispatch_id, tenant_id, run_id, provider, model_id, worker, content, input_tokens,
                                  output_tokens, start_at, expires_at)
    values (a_dispatch, a_tenant, a_run, a_provider, a_model, a_worker, a_content, a_input, a_output, begins,
            begins + a_call_ms * interval '1 millisecond');
    return greatest(0, extract(epoch from begins - a_now) * 1000)::bigint;
end $$;

-- Gives a place back, and puts the limits right by what the call really took.
create function jobs.settle(a_dispatch uuid, a_input bigint, a_output bigint) returns void language plpgsql as $$
declare
    r record;
begin
    delete from jobs.reservation where dispatch_id = a_dispatch returning * into r;
    if not found then
        return;
    end if;
    if a_input = r.input_tokens and a_output = r.output_tokens then
        return;
    end if;
    update jobs.rate_limit set
        input_at = case when input_tokens_per_minute is null then input_at else
            input_at + interval '1 minute' * ((a_input - r.input_tokens)::float8 / input_tokens_per_minute) end,
        output_at = case when output_tokens_per_minute is null then output_at else
            output_at + interval '1 minute' * ((a_output - r.output_tokens)::float8 / output_tokens_per_minute) end
    where tenant_id = r.tenant_id and key in (r.provider, r.model_id);
end $$;

-- How many executions a run may have out: what is left of its budget, by what its results took on average. Before there
-- are results nobody knows, and a few are tried.
create function jobs.budget_room(results bigint, cost bigint, cost_max bigint, tokens bigint, tokens_max bigint)
returns bigint language sql immutable as $$
    select case when results = 0 then 8 else least(
        case when cost_max is null or cost <= 0 then null else floor((cost_max - cost) * results::float8 / cost) end,
        case when tokens_max is null or tokens <= 0 then null else floor((tokens_max - tokens) * results::float8 / tokens) end
    ) end::bigint
$$;
