-- What a dump does not hold and a run of the site does not make: roles made by hand (never superusers, and without passwords, which only a superuser may
-- read), who is a member of whom, and the settings of roles and databases. As statements, in an order in which they can be run.
with platform(name) as (values ('postgres'), ('password_rotation'), ('pgbouncer'), ('wal_archive')),
role as (select r.* from pg_roles r where r.rolname !~ '^pg_' and not r.rolsuper and r.rolname not in (select name from platform)
  and coalesce(shobj_description(r.oid, 'pg_authid'), '') not like 'shaka.platform preview %'),
statement(rank, name, text) as (
  select 1, rolname, format('do $do$ begin if to_regrole(%L) is null then create role %I %s %s; end if; end $do$', quote_ident(rolname), rolname,
    case when rolcanlogin then 'login' else 'nologin' end, case when rolinherit then 'inherit' else 'noinherit' end)
  from role
  union all
  select 2, member.rolname, format('grant %I to %I', granted.rolname, member.rolname)
  from pg_auth_members m join pg_roles granted on granted.oid = m.roleid join role member on member.oid = m.member where not granted.rolsuper
  union all
  select 3, coalesce(r.rolname, d.datname), format('alter %s set %I to %s',
    case when r.rolname is null then format('database %I', d.datname)
      else format('role %I', r.rolname) || case when d.datname is null then '' else format(' in database %I', d.datname) end end,
    split_part(setting, '=', 1),
    -- a list of names has its quotes already: the parameters of pg_dump's variable_is_guc_list_quote
    case when setting ~* '^(search_path|temp_tablespaces|local_preload_libraries|session_preload_libraries|unix_socket_directories)=.'
      then substr(setting, strpos(setting, '=') + 1) else quote_literal(substr(setting, strpos(setting, '=') + 1)) end)
  from pg_db_role_setting s left join role r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) setting
  where (s.setrole = 0 and d.datname is not null) or r.oid is not null
)
select coalesce(json_agg(text order by rank, name, text), '[]') from statement;
