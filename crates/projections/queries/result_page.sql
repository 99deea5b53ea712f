-- An absent parameter is no condition. The name of a case is its current one, also where the card has it no more.
select r.execution_id, r.run_id, r.card_id, r.version, r.case_id, c.name as case_name, r.model, r.repeat, r.status,
       r.score, r.input, r.output, r.verdicts, r.latency_ms, r.input_tokens, r.output_tokens, r.cost_micro_usd,
       r.error_class, r.error, r.attempt, r.worker, r.executed_at, r.position, r.subject, r.grader, r.cached,
       o.passed as override_passed, o.reason as override_reason, o.overridden_by, o.overridden_at
from read.execution_result r
left join read.test_case c on c.tenant_id = r.tenant_id and c.card_id = r.card_id and c.case_id = r.case_id
left join read.verdict_override o on o.tenant_id = r.tenant_id and o.execution_id = r.execution_id
     and o.position <= $10 and (o.until_position is null or o.until_position > $10)
where r.tenant_id = $1 and r.run_id = $2 and r.position > $3
  and ($4::text is null or r.model = $4)
  and ($5::bool is null or (r.status = 'passed') = $5)
  and ($6::bigint is null or r.version = $6)
  and ($7::uuid is null or r.case_id = $7)
  and ($9::bigint is null or r.position <= $9)
order by r.position
limit $8
