-- Compare and set. The owner's lease is as fresh as its last page.
update read.projection set
    position = $4, updated_at = coalesce($5, updated_at), passed_over = passed_over + $6, failures = failures + $7,
    lease_until = case when owner is null then null else clock_timestamp() + make_interval(secs => $8) end,
    status = case when $9::bigint is null then status else 'stopped' end,
    failed_position = $9, failed_stream = $10, failed_version = $11, failed_type = $12, failed_error = $13,
    failed_at = case when $9::bigint is null then null else clock_timestamp() end
where name = $1 and generation = $2 and position = $3
