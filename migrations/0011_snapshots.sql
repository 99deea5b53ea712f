-- States of long streams, so that they need not be folded from their first event. Deleting any row, or all, costs time
-- and nothing else.
--
-- state_hash is that of the state's shape and fold: builds whose states differ each keep their own row while both run.
-- A row of a hash that nobody writes any more goes when the stream's next snapshot is written, a day later.
create table es.snapshot (
    tenant_id int not null,
    stream_id uuid not null,
    state_type text not null,
    state_hash bytea not null,
    version bigint not null check (version > 0),
    state text not null,
    written_at timestamptz not null default clock_timestamp(),
    primary key (stream_id, tenant_id, state_type, state_hash)
);
-- A state is read far more often than written, and decompressing it takes longer than reading it.
alter table es.snapshot alter column state set storage external;
