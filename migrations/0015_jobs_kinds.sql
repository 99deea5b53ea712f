-- Kinds of jobs beside test executions: each kind has a window of its own, for it has workers of its own.
alter table jobs.execution add column kind text not null default 'test_execution';
create index queue_kind on jobs.queue (kind);

-- Whose try the count of a suspected event has: an owner that tries again is no second one.
alter table read.projection add column suspect_epoch bigint;

-- job_list.v1: one row a job on request, and one a failed attempt.
create table read.job (
    tenant_id int not null,
    id uuid not null,
    kind text not null,
    lane text not null,
    status text not null check (status in ('waiting', 'finished', 'dead', 'cancelled')),
    input jsonb not null,
    output jsonb,
    attempts int not null,
    worker text,
    error_class text,
    error text,
    requested_by uuid,
    requested_at timestamptz not null,
    not_before timestamptz,
    ended_at timestamptz,
    revision bigint not null,
    primary key (tenant_id, id)
) with (fillfactor = 70);
create index job_requested on read.job (tenant_id, requested_at, id);
create table read.job_attempt (
    tenant_id int not null,
    job_id uuid not null,
    attempt int not null,
    worker text not null,
    class text not null,
    error text not null,
    retry_at timestamptz,
    at timestamptz not null,
    primary key (tenant_id, job_id, attempt)
);
