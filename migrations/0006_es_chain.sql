-- The log as a chain: every event carries a hash of itself and of the one before it in its stream, and every batch a
-- seal over its events and the batch before. And two savings of the append: streams are numbered by the position of
-- their first event, and a batch without surprises is inserted without looking anything up.
--
-- What is stored of an event:
--   digest  = sha256 of its content (es.event_digest; in Rust: crates/store/src/chain.rs)
--   hash    = sha256(hash of the stream's event before it, or 32 zero bytes, || version || digest)
-- and of a batch, which is what one call of es.append commits, and whose events share one recorded_at:
--   seal    = sha256(seal of the batch before || first position || last position || recorded_at || sha256(its hashes))
-- Numbers are 8 bytes, big-endian; a time is its microseconds since 2000-01-01, as PostgreSQL sends it.

create function es.optional(value bytea) returns bytea
language sql immutable parallel safe as
$$ select case when value is null then '\x00'::bytea else '\x01'::bytea || value end $$;

create function es.text_bytes(value text) returns bytea
language sql immutable parallel safe as
$$ select int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8') $$;

-- The content of an event as one digest. A second implementation on purpose: auditors can check the log in SQL alone.
create function es.event_digest(
    tenant int, stream uuid, category smallint, event uuid, type_name text, type_version smallint, command uuid,
    correlation uuid, causation uuid, actor uuid, trace text, payload text) returns bytea
language sql immutable parallel safe as $$
    select sha256('pcs.event.1'::bytea || int4send(tenant) || uuid_send(stream) || int2send(category)
        || uuid_send(event) || es.text_bytes(type_name) || int2send(type_version) || uuid_send(command)
        || es.optional(uuid_send(correlation)) || es.optional(uuid_send(causation)) || es.optional(uuid_send(actor))
        || es.optional(es.text_bytes(trace)) || es.text_bytes(payload))
$$;

create function es.event_hash(before bytea, version bigint, digest bytea) returns bytea
language sql immutable parallel safe as
$$ select sha256(coalesce(before, decode(repeat('00', 32), 'hex')) || int8send(version) || digest) $$;

create function es.batch_seal(
    before bytea, first_position bigint, last_position bigint, recorded_at timestamptz, hashes bytea) returns bytea
language sql immutable parallel safe as $$
    select sha256(before || int8send(first_position) || int8send(last_position) || timestamptz_send(recorded_at) || hashes)
$$;

-- The seal of each batch. The log's tip is in es.head, so that an append reads one row.
create table es.seal (
    last_position bigint primary key,
    first_position bigint not null,
    recorded_at timestamptz not null,
    seal bytea not null
);
create trigger append_only before update or delete or truncate on es.seal
    for each statement execute function es.refuse_change();
alter table es.head
    add column seal bytea not null default decode(repeat('00', 32), 'hex'),
    add column recorded_at timestamptz not null default '-infinity';

-- The log again, with the stream's number in front: new streams go to the right edge of the second index.
alter table es.event rename to event_0001;
do $$
declare
    number int := 0;
begin
    while to_regclass(format('es.event_p%s', number)) is not null loop
        execute format('alter table es.event_p%s rename to event_0001_p%s', number, number);
        execute format('alter table es.event_0001_p%1$s rename constraint event_p%1$s_pkey to event_0001_p%1$s_pkey', number);
        execute format('alter table es.event_0001_p%1$s rename constraint event_p%1$s_version to event_0001_p%1$s_version', number);
        execute format('alter index es.event_p%1$s_recorded_at rename to event_0001_p%1$s_recorded_at', number);
        number := number + 1;
    end loop;
end $$;

-- stream_no: the position of the stream's first event, so it needs no sequence and is unique.
-- payload: the text as it was written, with keys in order (docs/decisions/0002).
create table es.event (
    position bigint not null,
    stream_no bigint not null,
    version bigint not null,
    recorded_at timestamptz not null,
    tenant_id int not null,
    category smallint not null,
    type_id smallint not null,
    stream_id uuid not null,
    event_id uuid not null,
    command_id uuid not null,
    correlation_id uuid,
    causation_id uuid,
    actor_id uuid,
    hash bytea not null,
    trace text,
    payload text not null
) partition by range (position);
create trigger append_only before update or delete or truncate on es.event
    for each statement execute function es.refuse_change();

-- state: 0 open, 1 deleted (hidden and closed, may be opened again), 2 archived (closed, may be opened again),
-- 3 tombstoned (hidden and closed for ever).
-- head_hash: the hash of its newest event, so that an append need not read the log.
alter table es.stream add column stream_no bigint, add column head_hash bytea, add column state_changed_at timestamptz;

create or replace function es.create_partitions(partition_len bigint default 10000000) returns int
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
            execute format('alter table es.event_p%1$s add constraint event_p%1$s_version unique (stream_no, version)',
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

-- What is there already is chained now, each event as a batch of its own. Its time is made to grow with its position.
do $$
declare
    e record;
    before bytea;
    hash bytea;
    seal bytea := decode(repeat('00', 32), 'hex');
    at timestamptz := '-infinity';
begin
    for e in
        select o.*, t.name, t.schema_version,
               min(o.position) over (partition by o.tenant_id, o.stream_id) as stream_no
        from es.event_0001 o join es.event_type t using (type_id) order by o.position
    loop
        select h.hash into before from es.event h where h.stream_no = e.stream_no and h.version = e.version - 1;
        hash := es.event_hash(before, e.version,
            es.event_digest(e.tenant_id, e.stream_id, e.category, e.event_id, e.name, e.schema_version, e.command_id,
                e.correlation_id, e.causation_id, e.actor_id, e.trace, e.payload));
        at := greatest(e.recorded_at, at + interval '1 microsecond');
        seal := es.batch_seal(seal, e.position, e.position, at, sha256(hash));
        insert into es.event (position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id,
                              event_id, command_id, correlation_id, causation_id, actor_id, hash, trace, payload)
        values (e.position, e.stream_no, e.version, at, e.tenant_id, e.category, e.type_id, e.stream_id, e.event_id,
                e.command_id, e.correlation_id, e.causation_id, e.actor_id, hash, e.trace, e.payload);
        insert into es.seal (last_position, first_position, recorded_at, seal) values (e.position, e.position, at, seal);
        update es.stream s set stream_no = e.stream_no, head_hash = hash
        where s.tenant_id = e.tenant_id and s.stream_id = e.stream_id;
    end loop;
    update es.head h set seal = s.seal, recorded_at = s.recorded_at
    from es.seal s where s.last_position = h.position;
end $$;
drop table es.event_0001;
alter table es.stream alter column stream_no set not null, alter column head_hash set not null;

-- Moves the head over a batch that was written, and seals it.
create function es.seal_batch(
    first_position bigint, last_position bigint, at timestamptz, before bytea, hashes bytea) returns void
language plpgsql as $$
declare
    sealed bytea := es.batch_seal(before, first_position, last_position, at, hashes);
begin
    insert into es.seal (last_position, first_position, recorded_at, seal)
    values (seal_batch.last_position, seal_batch.first_position, at, sealed);
    update es.head set position = seal_batch.last_position, recorded_at = at, seal = sealed;
end $$;

-- The one way into the log: a batch of commands that names the version of each stream that it writes (0: new).
-- Nothing is looked up: the keys and the count of moved streams are the check. What is not as expected raises an error
-- (unique_violation, or serialization_failure) and nothing is written; the caller then asks es.judge which of the
-- commands can go on.
--
-- Arrays of events (e_) have one element per event in the order of positions; an array of nulls alone may be empty.
-- e_stream_no: the stream's number, or null where it is new: then it is the position of the event that stands
-- e_nth - 1 places before. Arrays of new streams (n_), moved streams (m_) and remembered commands (c_): places count
-- from 1 in the arrays of events.
drop function es.append;
create function es.append(
    e_tenant int[], e_stream uuid[], e_category smallint[], e_stream_no bigint[], e_version bigint[], e_nth int[],
    e_event_id uuid[], e_type smallint[], e_command_id uuid[], e_correlation uuid[], e_causation uuid[],
    e_actor uuid[], e_trace text[], e_hash bytea[], e_payload text[], hashes bytea,
    n_tenant int[], n_stream uuid[], n_category smallint[], n_place int[], n_version bigint[],
    n_hash bytea[],
    m_tenant int[], m_stream uuid[], m_expected bigint[], m_version bigint[], m_hash bytea[],
    c_tenant int[], c_id uuid[], c_fingerprint uuid[], c_first int[], c_last int[]) returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    last_given bigint;
    before bytea;
    at timestamptz;
    moved bigint;
begin
    select position, seal, greatest(clock_timestamp(), recorded_at + interval '1 microsecond')
    into last_given, before, at from es.head for update;
    insert into es.stream (tenant_id, stream_id, category, version, stream_no, head_hash)
    select tenant, stream, category, version, last_given + place, hash
    from unnest(n_tenant, n_stream, n_category, n_place, n_version, n_hash)
         as n (tenant, stream, category, place, version, hash);
    if cardinality(m_stream) > 0 then
        update es.stream s set version = m.version, head_hash = m.hash
        from unnest(m_tenant, m_stream, m_expected, m_version, m_hash) as m (tenant, stream, expected, version, hash)
        where s.tenant_id = m.tenant and s.stream_id = m.stream and s.version = m.expected and s.state = 0;
        get diagnostics moved = row_count;
        if moved <> cardinality(m_stream) then
            raise exception 'a stream is not at the expected version' using errcode = 'serialization_failure';
        end if;
    end if;
    if cardinality(c_id) > 0 then
        insert into es.command (tenant_id, command_id, fingerprint, first_position, last_position)
        select tenant, id, fingerprint, last_given + first, last_given + last
        from unnest(c_tenant, c_id, c_fingerprint, c_first, c_last) as c (tenant, id, fingerprint, first, last);
    end if;
    insert into es.event (position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id, event_id,
                          command_id, correlation_id, causation_id, actor_id, hash, trace, payload)
    select last_given + place, coalesce(stream_no, last_given + place - nth + 1), version, at, tenant, category, type,
           stream, event_id, command_id, correlation, causation, actor, hash, trace, payload
    from unnest(e_tenant, e_stream, e_category, e_stream_no, e_version, e_nth, e_event_id, e_type, e_command_id,
                e_correlation, e_causation, e_actor, e_trace, e_hash, e_payload)
         with ordinality e (tenant, stream, category, stream_no, version, nth, event_id, type, command_id,
                            correlation, causation, actor, trace, hash, payload, place);
    perform es.seal_batch(last_given + 1, last_given + cardinality(e_event_id), at, before, hashes);
    return last_given;
end $$;

-- What a batch with surprises has to know, under the lock of the head: one row per element, which is a stream that a
-- command writes or checks. a_known: the command's id where it is remembered, else null. The caller decides with it
-- which commands go on, and sends those to es.append in the same transaction.
--
-- The settings on the functions keep a plan that was cached while the tables were empty from scanning them for ever
-- (measured: 12,000 appends/s instead of 57,000 at 256 callers).
create function es.judge(a_tenant int[], a_stream uuid[], a_known uuid[])
returns table (version bigint, state smallint, stream_no bigint, head_hash bytea, known bool, fingerprint uuid,
               first_position bigint, last_position bigint)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    perform 1 from es.head for update;
    return query
    select coalesce(s.version, 0), coalesce(s.state, 0::smallint), s.stream_no, s.head_hash, k.command_id is not null,
           k.fingerprint, k.first_position, k.last_position
    from unnest(a_tenant, a_stream, a_known) with ordinality u (tenant, stream, known, place)
    left join es.stream s on s.tenant_id = u.tenant and s.stream_id = u.stream
    left join es.command k on k.tenant_id = u.tenant and k.command_id = u.known
    order by u.place;
end $$;

-- Opens or closes a stream (see es.stream.state); answers its state before, null where there is no such stream.
create function es.set_stream_state(tenant int, stream uuid, wanted smallint) returns smallint
language plpgsql as $$
declare
    state_before smallint;
begin
    -- Under the head's lock, so that no append is half way.
    perform 1 from es.head for update;
    select s.state into state_before from es.stream s where s.tenant_id = tenant and s.stream_id = stream;
    if state_before is distinct from wanted and coalesce(state_before, 3) <> 3 then
        update es.stream s set state = wanted, state_changed_at = clock_timestamp()
        where s.tenant_id = tenant and s.stream_id = stream;
    end if;
    return state_before;
end $$;
