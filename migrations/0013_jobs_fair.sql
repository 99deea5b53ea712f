-- Runs take turns: the desk knows each run's lane, when it was served the last time, and what of it waits.

alter table jobs.run add column lane smallint not null default 1,
                     add column served_at timestamptz not null default '-infinity';
update jobs.run r set lane = e.lane from (select distinct run_id, lane from jobs.execution) e where e.run_id = r.run_id;
create index execution_of_run on jobs.execution (run_id, place) where state = 0;
