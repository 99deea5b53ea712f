-- The bucket of the answer at the median and at 95 of 100, by nearest rank, without fractions.
with ranked as (
    select run_id, ordinal, bucket,
           sum(count) over (partition by run_id, ordinal order by bucket) as up_to,
           sum(count) over (partition by run_id, ordinal) as total
    from read.run_latency where tenant_id = $1 and run_id = any($2::uuid[])
)
select run_id, ordinal,
       min(bucket) filter (where up_to * 2 >= total) as p50,
       min(bucket) filter (where up_to * 20 >= total * 19) as p95
from ranked group by run_id, ordinal
