-- Notices: what channels are told of how messages ended. `next_try` is there exactly while one waits, `holder` while one
-- is being sent.
CREATE TABLE notice (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq BIGINT NOT NULL REFERENCES message ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    channel TEXT COLLATE "C" NOT NULL,
    ending TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    class TEXT COLLATE "C",
    cause TEXT COLLATE "C",
    finished BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    tries BIGINT NOT NULL,
    since BIGINT NOT NULL,
    next_try BIGINT,
    holder TEXT COLLATE "C",
    epoch BIGINT NOT NULL,
    ended BIGINT,
    error TEXT COLLATE "C"
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX notice_message ON notice (seq, number);
CREATE INDEX notice_due ON notice (channel, next_try, number) WHERE next_try IS NOT NULL;
CREATE INDEX notice_open ON notice (channel, state, since) WHERE state <> 'sent';
CREATE INDEX notice_holder ON notice (holder) WHERE holder IS NOT NULL;
