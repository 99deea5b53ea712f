-- Who may use the API: accounts and their keys. Nothing here is projected from events.

create schema auth;

create table auth.account (
    account_id uuid primary key,
    tenant_id int not null,
    email text not null unique check (email = lower(email)),
    role text not null check (role in ('admin', 'editor', 'viewer')),
    created_at timestamptz not null default clock_timestamp()
);

-- A key is found by its prefix and checked by the digest of its secret. SHA-256 is enough: the secret is random and as
-- wide as the digest, so there is nothing to guess that a slow hash would protect.
create table auth.api_key (
    key_id uuid primary key,
    account_id uuid not null references auth.account,
    tenant_id int not null,
    name text not null,
    prefix text not null unique,
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    role text not null check (role in ('admin', 'editor', 'viewer')),
    created_at timestamptz not null default clock_timestamp(),
    -- To the hour, so that a busy key costs one write an hour.
    last_used_at timestamptz,
    revoked_at timestamptz
);
create index on auth.api_key (account_id);
