-- An absent parameter is no condition. The name of a case is its current one, also where the card has it no more.
select g.ordinal, g.execution_id, r.version, r.case_id, c.name as case_name, r.model, r.repeat, g.passed,
       g.passed_before, g.score, g.verdicts, g.grader, g.subject
from read.regrade_result g
join read.execution_result r on r.tenant_id = g.tenant_id and r.execution_id = g.execution_id
left join read.test_case c on c.tenant_id = r.tenant_id and c.card_id = r.card_id and c.case_id = r.case_id
where g.tenant_id = $1 and g.regrade_id = $2 and g.ordinal > $3 and ($4::bool is null or (g.passed <> g.passed_before) = $4)
order by g.ordinal
limit $5
