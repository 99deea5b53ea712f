-- What people choose test cases by, and what else they keep with them.
alter table read.test_case
    add column tags jsonb not null default '[]',
    add column metadata jsonb not null default '{}';

-- The version of what graded an answer; absent of those that were graded before there was one.
alter table read.execution_result add column grader text;

-- Whether the model was not asked, because the same question had an answer.
alter table read.execution_result add column cached boolean not null default false;

-- What was checked out where a run was asked from.
alter table read.run add column branch text, add column commit_id text;

-- regrades.v1: one row a regrade, and one a new grade of an answer. ordinal is the order in which they were graded.
create table read.regrade (
    tenant_id int not null,
    id uuid not null,
    run_id uuid not null,
    card_id uuid not null,
    name text not null,
    status text not null check (status in ('running', 'completed')),
    answers bigint not null,
    passed bigint not null,
    failed bigint not null,
    turned_to_passed bigint not null,
    turned_to_failed bigint not null,
    verdicts bigint not null,
    requested_by uuid not null,
    requested_at timestamptz not null,
    ended_at timestamptz,
    revision bigint not null,
    primary key (tenant_id, id)
);
create index regrade_run on read.regrade (tenant_id, run_id, requested_at, id);
create table read.regrade_result (
    tenant_id int not null,
    regrade_id uuid not null,
    ordinal bigint not null,
    execution_id uuid not null,
    passed boolean not null,
    passed_before boolean not null,
    score double precision not null,
    verdicts jsonb not null,
    grader text,
    subject jsonb,
    primary key (tenant_id, regrade_id, ordinal)
);
create index regrade_result_turned on read.regrade_result (tenant_id, regrade_id, ordinal) where passed <> passed_before;
