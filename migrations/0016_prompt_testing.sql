-- What people choose test cases by, and what else they keep with them.
alter table read.test_case
    add column tags jsonb not null default '[]',
    add column metadata jsonb not null default '{}';
