-- The archive: partitions of the log that were exported to object storage, and where the pieces are.

-- How the log is cut; one row. The length is fixed while the log is empty (es.set_partition_len).
create table es.setting (
    one bool primary key default true check (one),
    partition_len bigint not null default 10000000 check (partition_len between 10 and 1000000000)
);
insert into es.setting default values;

-- One row a partition that is in the archive or on its way there.
-- state: 0 its events are being written, 1 they were read back and are right, 2 the partition is detached, 3 it is
-- dropped, 4 it was attached again from the archive. From 1 on readers may take it from the archive; in 2 and 3 they
-- must. The archive's files are never changed, so a reader that is late by one state still reads the same events.
create table es.archive (
    number bigint primary key,
    first_position bigint not null,
    last_position bigint not null,
    -- Its folder below the archive's address, so that an archive can move. The random part keeps copies of one database
    -- that share an archive from writing over each other.
    folder text not null,
    state smallint not null default 0 check (state between 0 and 4),
    events bigint,
    bytes bigint,
    manifest_sha256 text,
    merkle_root text,
    started_at timestamptz not null default clock_timestamp(),
    verified_at timestamptz,
    detached_at timestamptz
);

-- The objects of events of a partition. description: what the manifest says of it; a run that was interrupted goes on
-- after the last one.
create table es.segment (
    first_position bigint primary key,
    last_position bigint not null,
    number bigint not null references es.archive on delete cascade,
    uri text not null,
    sha256 text not null,
    merkle_root text not null,
    description text not null
);
create index on es.segment (number);

-- A partition in two steps, so that one can be filled in between: rows go in faster without indexes.
create function es.make_partition(number bigint) returns void
language plpgsql as $$
begin
    execute format('create table es.event_p%s (like es.event including defaults)', number);
end $$;
create function es.attach_partition(number bigint) returns void
language plpgsql as $$
declare
    len bigint := (select partition_len from es.setting);
begin
    execute format('alter table es.event_p%s add primary key (position)', number);
    execute format('alter table es.event_p%1$s add constraint event_p%1$s_version unique (stream_no, version)',
        number);
    execute format('create index event_p%1$s_recorded_at on es.event_p%1$s using brin (recorded_at)', number);
    -- A statement trigger acts on the table that the statement names, so each partition needs its own.
    execute format('create trigger append_only before update or delete or truncate on es.event_p%s
                    for each statement execute function es.refuse_change()', number);
    execute format('alter table es.event attach partition es.event_p%s for values from (%s) to (%s)',
        number, number * len, (number + 1) * len);
end $$;

-- Creates the partitions of the log up to two ahead of the head; those that are only in the archive stay there.
drop function es.create_partitions(bigint);
create function es.create_partitions() returns int
language plpgsql as $$
declare
    newest bigint := (select h.position / s.partition_len + 2 from es.head h, es.setting s);
    made int := 0;
begin
    for wanted in 0 .. newest loop
        if to_regclass(format('es.event_p%s', wanted)) is null
           and not exists (select from es.archive a where a.number = wanted and a.state in (2, 3)) then
            perform es.make_partition(wanted);
            perform es.attach_partition(wanted);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;

-- Cuts the log into other lengths; only while nothing is in it, because a position's partition never changes.
create function es.set_partition_len(len bigint) returns void
language plpgsql as $$
declare
    partition regclass;
begin
    if (select position from es.head) > 0 then
        raise exception 'the log has events: the length of its partitions can''t change any more'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    for partition in select inhrelid from pg_inherits where inhparent = 'es.event'::regclass loop
        execute format('drop table %s', partition);
    end loop;
    update es.setting set partition_len = len;
    perform es.create_partitions();
end $$;
