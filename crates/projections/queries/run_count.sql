update run_model m set
    passed = m.passed + d.passed, failed = m.failed + d.failed, errors = m.errors + d.errors,
    input_tokens = m.input_tokens + d.input_tokens, output_tokens = m.output_tokens + d.output_tokens,
    cost_micro_usd = m.cost_micro_usd + d.cost_micro_usd, priced = m.priced + d.priced
from unnest($1::int[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[])
     as d (tenant_id, run_id, model, passed, failed, errors, input_tokens, output_tokens, cost_micro_usd, priced)
where m.tenant_id = d.tenant_id and m.run_id = d.run_id and m.model = d.model
