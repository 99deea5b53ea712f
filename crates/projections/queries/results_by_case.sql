-- The results of a run up to a position, counted by version, model and case; a person's verdict takes the place of the
-- recorded one. What has no answer says nothing about scores and measures.
select r.version, r.model, r.case_id, max(c.name) as case_name, min(md5(r.input::text)) as content,
       md5(string_agg(md5(coalesce(r.output, '')), '' order by r.repeat)) as outputs,
       case when min(r.grader) = max(r.grader) and count(r.grader) = count(r.output) then min(r.grader) end as grader,
       count(*) filter (where r.status <> 'error') as answered,
       count(*) filter (where coalesce(o.passed, r.status = 'passed')) as passed,
       count(*) filter (where r.status = 'error') as errors, count(o.passed) as overridden,
       coalesce(sum(r.score), 0) as score_sum, coalesce(sum(r.score * r.score), 0) as score_squares,
       count(r.latency_ms) as latencies, coalesce(sum(r.latency_ms::float8), 0) as latency_sum,
       coalesce(sum(r.latency_ms::float8 * r.latency_ms), 0) as latency_squares,
       count(r.cost_micro_usd) as costs, coalesce(sum(r.cost_micro_usd::float8), 0) as cost_sum,
       coalesce(sum(r.cost_micro_usd::float8 * r.cost_micro_usd), 0) as cost_squares
from read.execution_result r
left join read.test_case c on c.tenant_id = r.tenant_id and c.card_id = r.card_id and c.case_id = r.case_id
left join read.verdict_override o on o.tenant_id = r.tenant_id and o.execution_id = r.execution_id
     and o.position <= $3 and (o.until_position is null or o.until_position > $3)
where r.tenant_id = $1 and r.run_id = $2 and r.position <= $3
group by r.version, r.model, r.case_id
order by r.version, r.model, r.case_id
