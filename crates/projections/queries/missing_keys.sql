-- The keys and indexes that tables have in one schema and lack in another, with the statements that make them there.
-- Constraints first, so that a unique index that belongs to one is made by it.
select t.relname::text as table,
       case when c.oid is not null
            then format('alter table %I.%I add constraint %I %s', $2, t.relname, c.conname, pg_get_constraintdef(c.oid))
            else replace(pg_get_indexdef(x.indexrelid), format(' ON %I.%I ', $1, t.relname),
                         format(' ON %I.%I ', $2, t.relname))
       end as statement,
       case when x.indisprimary
            then array(select quote_ident(a.attname) from unnest(x.indkey::int2[]) k (attnum)
                       join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum)
            else array[]::text[]
       end as key
from pg_index x
join pg_class t on t.oid = x.indrelid
join pg_namespace s on s.oid = t.relnamespace
join pg_class i on i.oid = x.indexrelid
left join pg_constraint c on c.conindid = x.indexrelid and c.contype in ('p', 'u', 'x')
where s.nspname = $1 and t.relname = any($3)
  and not exists (select from pg_class made join pg_namespace n on n.oid = made.relnamespace
                  where n.nspname = $2 and made.relname = i.relname)
order by c.oid is null, t.relname, i.relname
