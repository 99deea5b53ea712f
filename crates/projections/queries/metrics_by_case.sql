-- The verdicts of a run that have a metric, counted by version, model, case and metric.
select r.version, r.model, r.case_id, v ->> 'metric' as metric, count(*) as scores,
       coalesce(sum((v ->> 'score')::float8), 0) as score_sum,
       coalesce(sum((v ->> 'score')::float8 * (v ->> 'score')::float8), 0) as score_squares
from read.execution_result r cross join lateral jsonb_array_elements(r.verdicts) v
where r.tenant_id = $1 and r.run_id = $2 and r.position <= $3 and r.status <> 'error' and v ->> 'metric' is not null
group by r.version, r.model, r.case_id, v ->> 'metric'
order by metric, r.version, r.model, r.case_id
