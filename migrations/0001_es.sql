-- The event store: an append-only log, the heads of its streams, and what makes commands idempotent.

create schema es;

-- One row: the last position given out. Each append batch locks it, so position order is commit order without gaps.
-- fillfactor 10: the row is updated by every batch, and stays on its page (HOT).
create table es.head (
    one bool primary key default true check (one),
    position bigint not null default 0
) with (fillfactor = 10);
insert into es.head default values;

-- Names and versions of event types, so that a row of the log keeps two bytes instead of a text.
create table es.event_type (
    type_id smallint generated always as identity primary key,
    name text not null,
    schema_version smallint not null,
    unique (name, schema_version)
);

-- The head of each stream. state: 0 open. The stream comes first in its keys: the tenant is the same all along an index,
-- and comparing it first at every step costs an insert more than the step itself.
create table es.stream (
    tenant_id int not null,
    stream_id uuid not null,
    category smallint not null,
    version bigint not null,
    state smallint not null default 0,
    primary key (stream_id, tenant_id)
) with (fillfactor = 80);

-- The log. payload is the text as it was written, byte for byte: jsonb would reorder keys and rewrite numbers.
create table es.event (
    position bigint not null,
    tenant_id int not null,
    stream_id uuid not null,
    version bigint not null,
    event_id uuid not null,
    category smallint not null,
    type_id smallint not null,
    recorded_at timestamptz not null default clock_timestamp(),
    command_id uuid not null,
    correlation_id uuid,
    causation_id uuid,
    actor_id uuid,
    trace text,
    payload text not null
) partition by range (position);

-- Commands that were sent with an idempotency key, and what they wrote the first time.
create table es.command (
    tenant_id int not null,
    command_id uuid not null,
    fingerprint uuid,
    first_position bigint not null,
    last_position bigint not null,
    at timestamptz not null default clock_timestamp(),
    primary key (command_id, tenant_id)
);

-- The log is append-only for everybody. Statement triggers cost an insert nothing.
create function es.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'es.event is append-only: % is refused', tg_op using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete or truncate on es.event
    for each statement execute function es.refuse_change();

-- Creates the partitions of the log up to two ahead of the head. Called at migration and by the relay.
create function es.create_partitions(partition_len bigint default 10000000) returns int
language plpgsql as $$
declare
    newest bigint := (select position / partition_len + 2 from es.head);
    first_at bigint;
    made int := 0;
begin
    for number in 0 .. newest loop
        if to_regclass(format('es.event_p%s', number)) is null then
            first_at := number * partition_len;
            execute format('create table es.event_p%s (like es.event including defaults)', number);
            execute format('alter table es.event_p%s add primary key (position)', number);
            execute format('alter table es.event_p%1$s add constraint event_p%1$s_version unique (stream_id, tenant_id, version)',
                number);
            execute format('create index event_p%1$s_recorded_at on es.event_p%1$s using brin (recorded_at)', number);
            -- A statement trigger acts on the table that the statement names, so each partition needs its own.
            execute format('create trigger append_only before update or delete or truncate on es.event_p%s
                            for each statement execute function es.refuse_change()', number);
            execute format('alter table es.event attach partition es.event_p%s for values from (%s) to (%s)',
                number, first_at, first_at + partition_len);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
select es.create_partitions();
