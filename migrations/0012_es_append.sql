-- The same as before (0006), with less around it: the seal is made in place instead of by a function of its own, new
-- streams are inserted only where there are any, and the planner's settings are those of the appender's session: as
-- settings of the function they were saved and restored with every batch. A lone event goes in by values: taking one
-- element out of each of 15 arrays as a table costs a tenth of its time (docs/decisions/0032).
drop function es.append, es.seal_batch;
create function es.append(
    e_tenant int[], e_stream uuid[], e_category smallint[], e_stream_no bigint[], e_version bigint[], e_nth int[],
    e_event_id uuid[], e_type smallint[], e_command_id uuid[], e_correlation uuid[], e_causation uuid[],
    e_actor uuid[], e_trace text[], e_hash bytea[], e_payload text[], hashes bytea,
    n_tenant int[], n_stream uuid[], n_category smallint[], n_place int[], n_version bigint[],
    n_hash bytea[],
    m_tenant int[], m_stream uuid[], m_expected bigint[], m_version bigint[], m_hash bytea[],
    c_tenant int[], c_id uuid[], c_fingerprint uuid[], c_first int[], c_last int[]) returns bigint
language plpgsql
as $$
#variable_conflict use_column
declare
    last_given bigint;
    newest bigint;
    before bytea;
    sealed bytea;
    at timestamptz;
    moved bigint;
begin
    select position, seal, greatest(clock_timestamp(), recorded_at + interval '1 microsecond')
    into last_given, before, at from es.head for update;
    newest := last_given + cardinality(e_event_id);
    if cardinality(n_stream) = 1 then
        insert into es.stream (tenant_id, stream_id, category, version, stream_no, head_hash)
        values (n_tenant[1], n_stream[1], n_category[1], n_version[1], last_given + n_place[1], n_hash[1]);
    elsif cardinality(n_stream) > 1 then
        insert into es.stream (tenant_id, stream_id, category, version, stream_no, head_hash)
        select tenant, stream, category, version, last_given + place, hash
        from unnest(n_tenant, n_stream, n_category, n_place, n_version, n_hash)
             as n (tenant, stream, category, place, version, hash);
    end if;
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
    if cardinality(e_event_id) = 1 then
        insert into es.event (position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id,
                              event_id, command_id, correlation_id, causation_id, actor_id, hash, trace, payload)
        values (newest, coalesce(e_stream_no[1], newest), e_version[1], at, e_tenant[1], e_category[1], e_type[1],
                e_stream[1], e_event_id[1], e_command_id[1], e_correlation[1], e_causation[1], e_actor[1], e_hash[1],
                e_trace[1], e_payload[1]);
    else
        insert into es.event (position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id,
                              event_id, command_id, correlation_id, causation_id, actor_id, hash, trace, payload)
        select last_given + place, coalesce(stream_no, last_given + place - nth + 1), version, at, tenant, category,
               type, stream, event_id, command_id, correlation, causation, actor, hash, trace, payload
        from unnest(e_tenant, e_stream, e_category, e_stream_no, e_version, e_nth, e_event_id, e_type, e_command_id,
                    e_correlation, e_causation, e_actor, e_trace, e_hash, e_payload)
             with ordinality e (tenant, stream, category, stream_no, version, nth, event_id, type, command_id,
                                correlation, causation, actor, trace, hash, payload, place);
    end if;
    -- As es.batch_seal says, written out.
    sealed := sha256(before || int8send(last_given + 1) || int8send(newest) || timestamptz_send(at) || hashes);
    insert into es.seal (last_position, first_position, recorded_at, seal) values (newest, last_given + 1, at, sealed);
    update es.head set position = newest, recorded_at = at, seal = sealed;
    return last_given;
end $$;
