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

-- Executions without a result. state: 0 waiting, 1 handed to the broker. A result deletes the row.
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
) with (fillfactor = 70);
create index execution_waiting on jobs.execution (lane, place) where state = 0;
create index execution_dispatched on jobs.execution (dispatched_at) where state = 1;
create index execution_run on jobs.execution (run_id);
