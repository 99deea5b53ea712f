-- Durable subscriptions: how far each has come, who works on it, and what it could not handle. And the store's name.

-- One row: which log this is. A copy that goes its own way gets a new epoch, and cursors of the other are refused.
create table es.identity (
    one bool primary key default true check (one),
    store_id uuid not null default gen_random_uuid(),
    epoch int not null default 1 check (epoch > 0)
);
insert into es.identity default values;

create table es.subscription (
    name text primary key check (length(name) between 1 and 200),
    lanes smallint not null check (lanes between 1 and 64),
    -- Where it began, found once: "now" stays the now of the first start.
    started_after bigint not null check (started_after >= 0),
    created_at timestamptz not null default clock_timestamp(),
    -- Somebody is handling its parked events again.
    retry_owner uuid,
    retry_until timestamptz
);

-- One row per share of the streams. The position is moved by the owner whose fence it is, and by nobody else.
-- fillfactor 50: rows are updated all the time, and stay on their page (HOT).
create table es.subscription_lane (
    name text not null references es.subscription on delete cascade,
    lane smallint not null,
    position bigint not null,
    owner uuid,
    fence bigint not null default 0,
    leased_until timestamptz,
    -- The event that was begun while its owner is careful, and how often: a crash leaves no other trace.
    tried_position bigint not null default 0,
    tries int not null default 0,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (name, lane)
) with (fillfactor = 50);

-- The processes that share a subscription's lanes.
create table es.subscription_member (
    name text not null references es.subscription on delete cascade,
    member uuid not null,
    seen_until timestamptz not null,
    primary key (name, member)
);

-- Events that were set aside; the checkpoint has passed them.
create table es.subscription_parked (
    name text not null references es.subscription on delete cascade,
    position bigint not null,
    lane smallint not null,
    -- Null where the event could not be read.
    stream_id uuid,
    event_type text,
    attempts int not null,
    error text not null,
    parked_at timestamptz not null default clock_timestamp(),
    primary key (name, position)
);
