-- The model that a version of a prompt is written for, with its parameters.
alter table read.card_version add column model jsonb;

-- reviews.v1: one row the review of a run, one an answer in its queue, one each reviewer of an answer, and one each verdict
-- of a person that takes the place of a recorded one.
create table read.review (
    tenant_id int not null,
    review_id uuid not null,
    run_id uuid not null,
    card_id uuid not null,
    title text not null,
    instructions text not null,
    scores jsonb not null,
    reviewers_per_item int not null,
    blind boolean not null,
    closed boolean not null,
    opened_by uuid not null,
    opened_at timestamptz not null,
    revision bigint not null,
    primary key (tenant_id, review_id)
);
create index review_newest on read.review (tenant_id, opened_at, review_id);
create table read.review_item (
    tenant_id int not null,
    review_id uuid not null,
    execution_id uuid not null,
    primary key (tenant_id, review_id, execution_id)
);
-- scores is absent until the reviewer has scored the answer.
create table read.review_part (
    tenant_id int not null,
    review_id uuid not null,
    execution_id uuid not null,
    reviewer uuid not null,
    scores jsonb,
    comment text not null,
    scored_at timestamptz,
    primary key (tenant_id, review_id, execution_id, reviewer)
);
-- It counts from its position until until_position, where there is one: so what counted at any time is there.
create table read.verdict_override (
    tenant_id int not null,
    execution_id uuid not null,
    position bigint not null,
    until_position bigint,
    run_id uuid not null,
    passed boolean not null,
    passed_before boolean not null,
    reason text not null,
    overridden_by uuid not null,
    overridden_at timestamptz not null,
    primary key (tenant_id, execution_id, position)
);
create index verdict_override_run on read.verdict_override (tenant_id, run_id);
