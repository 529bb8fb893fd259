-- How many rows each table has, as Postgres estimates: what a restore compares with.
select coalesce(json_object_agg(n.nspname || '.' || c.relname, coalesce(nullif(s.n_live_tup, 0), greatest(c.reltuples, 0)::bigint)), '{}')
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_all_tables s on s.relid = c.oid
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e');
