insert into execution_result (
    tenant_id, execution_id, run_id, card_id, version, case_id, model, repeat, status, score, input, output, verdicts,
    latency_ms, input_tokens, output_tokens, cost_micro_usd, error_class, error, attempt, worker, executed_at, position,
    subject, grader, cached)
select tenant_id, execution_id, run_id, card_id, version, case_id, model, repeat, status, score, input::jsonb, output,
       verdicts::jsonb, latency_ms, input_tokens, output_tokens, cost_micro_usd, error_class, error, attempt, worker,
       executed_at, position, subject::jsonb, grader, cached
from unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::int[],
            $9::text[], $10::double precision[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[],
            $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::int[], $21::text[], $22::timestamptz[],
            $23::bigint[], $24::text[], $25::text[], $26::bool[])
     as r (tenant_id, execution_id, run_id, card_id, version, case_id, model, repeat, status, score, input, output,
           verdicts, latency_ms, input_tokens, output_tokens, cost_micro_usd, error_class, error, attempt, worker,
           executed_at, position, subject, grader, cached)
on conflict (tenant_id, execution_id) do nothing
