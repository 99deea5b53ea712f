select r.execution_id, r.run_id, r.card_id, r.version, r.case_id, c.name as case_name, r.model, r.repeat, r.status,
       r.score, r.input, r.output, r.verdicts, r.latency_ms, r.input_tokens, r.output_tokens, r.cost_micro_usd,
       r.error_class, r.error, r.attempt, r.worker, r.executed_at, r.position, r.subject, r.grader, r.cached,
       o.passed as override_passed, o.reason as override_reason, o.overridden_by, o.overridden_at
from read.execution_result r
left join read.test_case c on c.tenant_id = r.tenant_id and c.card_id = r.card_id and c.case_id = r.case_id
left join read.verdict_override o on o.tenant_id = r.tenant_id and o.execution_id = r.execution_id
     and o.position <= $3 and (o.until_position is null or o.until_position > $3)
where r.tenant_id = $1 and r.execution_id = $2
