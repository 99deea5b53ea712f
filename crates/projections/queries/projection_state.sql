-- Whose lease is over is no owner any more.
select p.name, p.generation, p.status, p.position, p.updated_at, p.passed_over, p.failures, p.policy, p.epoch,
       case when p.lease_until > clock_timestamp() then p.owner end as owner,
       p.failed_position, p.failed_stream, p.failed_version, p.failed_type, p.failed_error, p.failed_at,
       count(b.position) filter (where b.state <> 'skipped') as parked,
       count(b.position) filter (where b.state = 'skipped') as skipped
from read.projection p
left join read.bad_event b on b.name = p.name and b.generation = p.generation
where p.name = $1 and p.generation = $2
group by p.name, p.generation
