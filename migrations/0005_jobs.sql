-- The scheduler's desk: what is waiting, what is handed out. All of it follows from the log and can be made again.

create schema jobs;

-- How far the scheduler has read the log.
create table jobs.cursor (
    one bool primary key default true check (one),
    position bigint not null default 0
) with (fillfactor = 10);
insert into jobs.cursor default values;

-- The broker's stream of tickets as it was last seen: another time of creation means that it lost its disk.
create table jobs.broker (
    one bool primary key default true check (one),
    stream_created timestamptz not null
);

-- Runs that are not over, and the count of their results.
create table jobs.run (
    run_id uuid primary key,
    tenant_id int not null,
    planned bigint not null,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errors bigint not null default 0,
    trace text
) with (fillfactor = 50);

-- Executions without a result. state: 0 waiting, 1 handed to the broker, 2 pausing until not_before. A result deletes
-- the row, so each leaves dead entries at the front of the indexes: vacuum comes early.
create table jobs.execution (
    execution_id uuid primary key,
    tenant_id int not null,
    run_id uuid not null,
    lane smallint not null,
    place bigint not null generated always as identity,
    version int not null,
    case_id uuid not null,
    model text not null,
    repeat smallint not null,
    attempt smallint not null default 1,
    state smallint not null default 0,
    not_before timestamptz not null default '-infinity',
    dispatch_id uuid,
    dispatched_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000);
create index execution_waiting on jobs.execution (lane, place) where state = 0;
create index execution_oldest on jobs.execution (place) where state = 0;
create index execution_pausing on jobs.execution (not_before) where state = 2;
create index execution_dispatched on jobs.execution (dispatched_at) where state = 1;
create index execution_run on jobs.execution (run_id);
