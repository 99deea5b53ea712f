-- Personal data: the keys that make it readable, and where read models keep it sealed.
--
-- These two tables must not be in a backup of the data: pg_dump --exclude-table-data='es.*_key'. Keep their own backups
-- for a shorter time, because a key that is restored makes a shredded subject readable until its shredding is found in
-- the log again (that happens when a process connects). Dead rows, the write-ahead log and copies of the files still
-- hold destroyed keys, wrapped by the master key of their time: rotate the master key and destroy the old one, and none
-- of them is of use.

-- One row for each data subject. The id is a keyed digest of their name. destroyed: the row stays, so that nothing new
-- is kept of them.
create table es.subject_key (
    tenant_id int not null,
    subject_id uuid not null,
    -- The name of the master key that wraps the key.
    key_id text,
    wrapped_key bytea,
    -- How people call the subject, sealed with their key.
    sealed_name bytea,
    created_at timestamptz not null default clock_timestamp(),
    destroyed_at timestamptz,
    primary key (tenant_id, subject_id),
    check ((destroyed_at is null) = (wrapped_key is not null and key_id is not null and sealed_name is not null)),
    check (destroyed_at is null or (wrapped_key is null and key_id is null and sealed_name is null))
);

-- One row for each tenant: the key of the digests of subjects' names and of commands' fingerprints.
create table es.index_key (
    tenant_id int primary key,
    key_id text not null,
    wrapped_key bytea not null,
    created_at timestamptz not null default clock_timestamp()
);

-- Whose data a row is, and the sealed fields as they stand in the event; the columns of the fields are then empty.
alter table read.test_case add column subject jsonb;
alter table read.execution_result add column subject jsonb;
alter table read.execution_attempt add column subject jsonb;
