-- The life of a projection: who owns it, whether it runs, what it could not apply, and a second set of its tables.
--
-- A projection has up to three generations. 'live' is what people read (schema read), 'next' is built anew beside it
-- (read_next), 'old' is what was live before the last promotion (read_old). The SQL of a fold names its tables without
-- a schema, and the transaction's search_path says which generation it writes. 'swap' is held inside one transaction.

create schema read_next;
create schema read_old;
create schema read_swap;

alter table read.projection
    add column generation text not null default 'live' check (generation in ('live', 'next', 'old', 'swap')),
    add column status text not null default 'running'
        check (status in ('running', 'paused', 'stopped', 'building', 'ready')),
    -- What is done with an event that can't be applied; null leaves it to the projection.
    add column policy text check (policy in ('stop', 'park-stream', 'skip')),
    -- The one process that writes. Each change of hands raises the epoch: who holds an older one writes nothing.
    add column owner uuid,
    add column epoch bigint not null default 0,
    add column lease_until timestamptz,
    -- Changes of hands since the last page that went well: a process that dies of an event shows here.
    add column starts int not null default 0,
    add column suspect_position bigint,
    add column suspect_starts int not null default 0,
    -- Events that it passed over, because it is not subscribed to them; events that could not be applied.
    add column passed_over bigint not null default 0,
    add column failures bigint not null default 0,
    -- Why it stopped.
    add column failed_position bigint,
    add column failed_stream uuid,
    add column failed_version bigint,
    add column failed_type text,
    add column failed_error text,
    add column failed_at timestamptz,
    drop constraint projection_pkey,
    add primary key (name, generation);

-- Events that a projection could not apply. 'parked' is the first of its lane and has the error; 'queued' ones came
-- after it in the same lane and wait for it, in order; 'skipped' ones were given up and stay for the record.
create table read.bad_event (
    name text not null,
    generation text not null,
    position bigint not null,
    lane uuid not null,
    tenant_id int not null,
    stream_id uuid not null,
    version bigint not null,
    event_type text not null,
    state text not null check (state in ('parked', 'queued', 'skipped')),
    error text,
    attempts int not null,
    at timestamptz not null default clock_timestamp(),
    primary key (name, generation, position)
);
create index bad_event_lane on read.bad_event (name, generation, tenant_id, lane, position) where state <> 'skipped';
