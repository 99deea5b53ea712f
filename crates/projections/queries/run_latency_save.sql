insert into run_latency as l (tenant_id, run_id, ordinal, bucket, count)
select m.tenant_id, m.run_id, m.ordinal, d.bucket, d.count
from unnest($1::int[], $2::uuid[], $3::text[], $4::smallint[], $5::bigint[])
     as d (tenant_id, run_id, model, bucket, count)
join run_model m on m.tenant_id = d.tenant_id and m.run_id = d.run_id and m.model = d.model
on conflict (tenant_id, run_id, ordinal, bucket) do update set count = l.count + excluded.count
