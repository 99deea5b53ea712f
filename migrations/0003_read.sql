-- What people look at, folded from the log: every table can be emptied and comes back with the same content.
--
-- So there is no now(), no sequence and no randomness in it: times are those of the events. Keys start with the tenant.

create schema read;

-- How far each projection has read. updated_at is the time of the last event that it has seen.
-- fillfactor 10: the row is updated by every page, and stays on its page (HOT).
create table read.projection (
    name text primary key,
    position bigint not null default 0,
    updated_at timestamptz
) with (fillfactor = 10);

-- card_list.v1: one row a card.
-- search: the first 50,000 characters of the prompt. A tsvector holds 1 MiB of words and positions, a prompt can be
-- larger, and the error would stop the projection for ever. Of twelve hostile texts (hyphens, addresses, 4-byte
-- letters, no word twice) the worst took 5.3 bytes a character; 15 would fit beside title and description.
create table read.card (
    tenant_id int not null,
    id uuid not null,
    title text not null,
    description text not null,
    prompt text not null,
    category text not null,
    tags text[] not null,
    metadata jsonb not null,
    created_by uuid not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version bigint not null,
    is_public bool not null,
    archived bool not null,
    labels jsonb not null,
    case_count bigint not null,
    revision bigint not null,
    search tsvector not null generated always as (
        to_tsvector('english', title || ' ' || description || ' ' || left(prompt, 50000))
    ) stored,
    primary key (tenant_id, id)
);
create index card_search on read.card using gin (search);
create index card_tags on read.card using gin (tags);
create index card_created on read.card (tenant_id, created_at, id);
create index card_category on read.card (tenant_id, category);
create index card_title on read.card (tenant_id, title);

-- card_detail.v1: versions, and cases in the order they were added (ordinal). A removed case stays for the names of
-- its past results.
create table read.card_version (
    tenant_id int not null,
    card_id uuid not null,
    version bigint not null,
    prompt text not null,
    message text not null,
    author uuid not null,
    created_at timestamptz not null,
    primary key (tenant_id, card_id, version)
);
create table read.test_case (
    tenant_id int not null,
    card_id uuid not null,
    case_id uuid not null,
    ordinal bigint not null,
    name text not null,
    input jsonb not null,
    expected_output text,
    assertions jsonb not null,
    threshold double precision,
    created_at timestamptz not null,
    removed bool not null,
    primary key (tenant_id, card_id, case_id)
);
create index test_case_ordinal on read.test_case (tenant_id, card_id, ordinal) where not removed;

-- run_summary.v1: the request in read.run, counts in read.run_model (their sum is the run's), and how many answers
-- took how long in read.run_latency: percentiles without reading a million results. No key holds a model's name,
-- which may be longer than an index takes; ordinal is the model's place in the run.
create table read.run (
    tenant_id int not null,
    id uuid not null,
    name text not null,
    status text not null check (status in ('running', 'completed', 'cancelled')),
    card_id uuid not null,
    card_revision bigint not null,
    versions bigint[] not null,
    models jsonb not null,
    repeats int not null,
    cases bigint not null,
    planned bigint not null,
    lane text not null,
    requested_by uuid not null,
    requested_at timestamptz not null,
    ended_at timestamptz,
    revision bigint not null,
    primary key (tenant_id, id)
);
create index run_requested on read.run (tenant_id, requested_at, id);
create index run_card on read.run (tenant_id, card_id, requested_at, id);
create table read.run_model (
    tenant_id int not null,
    run_id uuid not null,
    ordinal int not null,
    model text not null,
    passed bigint not null default 0,
    failed bigint not null default 0,
    errors bigint not null default 0,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost_micro_usd bigint not null default 0,
    priced bigint not null default 0,
    primary key (tenant_id, run_id, ordinal)
) with (fillfactor = 50);
create table read.run_latency (
    tenant_id int not null,
    run_id uuid not null,
    ordinal int not null,
    bucket smallint not null,
    count bigint not null,
    primary key (tenant_id, run_id, ordinal, bucket)
) with (fillfactor = 50);

-- execution_results.v1: one row an execution with a result, and one a failed attempt. position orders a run's results.
create table read.execution_result (
    tenant_id int not null,
    execution_id uuid not null,
    run_id uuid not null,
    card_id uuid not null,
    version bigint not null,
    case_id uuid not null,
    model text not null,
    repeat int not null,
    status text not null check (status in ('passed', 'failed', 'error')),
    score double precision,
    input jsonb not null,
    output text,
    verdicts jsonb not null,
    latency_ms bigint,
    input_tokens bigint,
    output_tokens bigint,
    cost_micro_usd bigint,
    error_class text,
    error text,
    attempt int not null,
    worker text not null,
    executed_at timestamptz not null,
    position bigint not null,
    primary key (tenant_id, execution_id)
);
create unique index execution_result_run on read.execution_result (tenant_id, run_id, position);
create table read.execution_attempt (
    tenant_id int not null,
    execution_id uuid not null,
    attempt int not null,
    worker text not null,
    class text not null,
    error text not null,
    retry_at timestamptz,
    at timestamptz not null,
    primary key (tenant_id, execution_id, attempt)
);
