-- Times are microseconds since 1970. Text that comes from outside and may hold anything is BYTEA: TEXT takes no NUL.

-- Requests of one order key are numbered in the order of admission. `key` is the digest of upstream and order value, as
-- long values fit no index. `deadline` and `max_attempts` stay as admitted; `due_by` and `attempts_allowed` move when a
-- person has a message tried again. `day` tells in which partition its request, answer and attempts are.
CREATE TABLE message (
    seq BIGINT PRIMARY KEY,
    day INTEGER NOT NULL,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    scope BYTEA NOT NULL UNIQUE,
    fingerprint BYTEA NOT NULL,
    key BYTEA NOT NULL,
    upstream TEXT COLLATE "C" NOT NULL,
    order_value BYTEA NOT NULL,
    api TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    lane SMALLINT NOT NULL,
    head_of_line TEXT COLLATE "C" NOT NULL,
    transaction_type TEXT COLLATE "C",
    transaction_key BYTEA,
    correlation TEXT COLLATE "C" NOT NULL,
    traceparent TEXT COLLATE "C" NOT NULL,
    deadline BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    synchronous BOOLEAN NOT NULL,
    admitted BIGINT NOT NULL,
    has_request BOOLEAN NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    holds BOOLEAN NOT NULL,
    in_doubt BOOLEAN NOT NULL,
    attempts BIGINT NOT NULL,
    attempts_allowed BIGINT NOT NULL,
    breaks BIGINT NOT NULL,
    first_sent BIGINT,
    last_sent BIGINT,
    next_at BIGINT,
    due_by BIGINT NOT NULL,
    finished BIGINT,
    class TEXT COLLATE "C",
    cause TEXT COLLATE "C",
    epoch BIGINT NOT NULL,
    lease_until BIGINT,
    holder TEXT COLLATE "C",
    claim BIGINT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE SEQUENCE message_seq CACHE 1;
CREATE INDEX message_order ON message (key, lane, seq) WHERE holds;
CREATE INDEX message_under_way ON message (key) WHERE lease_until IS NOT NULL;
CREATE INDEX message_lease ON message (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX message_deadline ON message (due_by) WHERE next_at IS NOT NULL;
CREATE INDEX message_finished ON message (finished) WHERE finished IS NOT NULL AND NOT holds;
CREATE INDEX message_state ON message (state, seq);
CREATE INDEX message_request ON message (day) WHERE has_request;
CREATE INDEX message_day ON message (day);

-- What is large is kept by day, and given back by dropping the day.
CREATE TABLE request (
    day INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    method TEXT COLLATE "C" NOT NULL,
    path_and_query TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (day, seq)
) PARTITION BY LIST (day);
CREATE TABLE response (
    day INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    status INTEGER NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (day, seq)
) PARTITION BY LIST (day);
CREATE TABLE attempt (
    day INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    number BIGINT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT,
    result TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (day, seq, number)
) PARTITION BY LIST (day);

CREATE TABLE former_request (
    seq BIGINT NOT NULL,
    edition INTEGER NOT NULL,
    method TEXT COLLATE "C" NOT NULL,
    path_and_query TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (seq, edition)
);

-- One row for each order key that is held: its first message, its most urgent lane, and when that message is due (null
-- while one of the key is leased, or the key is paused). Whoever changes a message of a key locks its row first.
CREATE TABLE order_key (
    key BYTEA PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    depth BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    lane SMALLINT NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    api TEXT COLLATE "C" NOT NULL,
    ready_at BIGINT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX order_key_ready ON order_key (upstream, lane, channel, api, ready_at, seq) WHERE ready_at IS NOT NULL;

-- Counts, as changes: a row that all gateways update would be waited for by all. The sweep adds them up.
CREATE TABLE tally (
    upstream TEXT COLLATE "C" NOT NULL,
    api TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    lane SMALLINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    holds BOOLEAN NOT NULL,
    n BIGINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE pause (
    scope BYTEA PRIMARY KEY,
    since BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    act TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    previous BYTEA NOT NULL,
    digest BYTEA NOT NULL
);
CREATE INDEX audit_subject ON audit USING hash (subject);
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
