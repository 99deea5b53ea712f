-- The living results: theirs is a table of rows that are only added, each with its place in the log.
select run_id, model, latency_ms,
       count(*) filter (where status = 'passed') as passed,
       count(*) filter (where status = 'failed') as failed,
       count(*) filter (where status = 'error') as errors,
       coalesce(sum(input_tokens), 0)::bigint as input_tokens,
       coalesce(sum(output_tokens), 0)::bigint as output_tokens,
       coalesce(sum(cost_micro_usd), 0)::bigint as cost_micro_usd,
       count(cost_micro_usd) as priced
from read.execution_result
where tenant_id = $1 and run_id = any($2::uuid[]) and position <= $3
group by run_id, model, latency_ms
