-- One schema for SQLite and PostgreSQL. Heights, counts and times are BIGINT; amounts stay in the events' JSON.
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS block (
  height BIGINT PRIMARY KEY,
  id TEXT NOT NULL,
  timestamp_ms BIGINT NOT NULL,
  tx_count BIGINT NOT NULL,
  event_count BIGINT NOT NULL,
  tx_total BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS block_by_id ON block (id);
CREATE TABLE IF NOT EXISTS tx (
  height BIGINT NOT NULL,
  position BIGINT NOT NULL,
  id TEXT NOT NULL,
  call TEXT NOT NULL,
  sender TEXT NOT NULL,
  error_code TEXT NOT NULL,
  PRIMARY KEY (height, position)
);
CREATE INDEX IF NOT EXISTS tx_by_id ON tx (id);
CREATE TABLE IF NOT EXISTS event (
  height BIGINT NOT NULL,
  position BIGINT NOT NULL,
  tx_id TEXT NOT NULL,
  name TEXT NOT NULL,
  json TEXT NOT NULL,
  PRIMARY KEY (height, position)
);
CREATE INDEX IF NOT EXISTS event_by_name ON event (name, height, position);
CREATE TABLE IF NOT EXISTS mention (
  address TEXT NOT NULL,
  height BIGINT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (address, height, position)
);
CREATE INDEX IF NOT EXISTS mention_by_height ON mention (height);
-- How slices of compute jobs ended, by the chain's number of each, and their proofs; amounts are decimal text.
CREATE TABLE IF NOT EXISTS compute_sla_history (
  sequence BIGINT PRIMARY KEY,
  job_id TEXT NOT NULL,
  slice BIGINT NOT NULL,
  provider TEXT NOT NULL,
  buyer TEXT NOT NULL,
  outcome TEXT NOT NULL,
  outcome_reason TEXT NOT NULL,
  burned TEXT NOT NULL,
  refunded TEXT NOT NULL,
  payout TEXT NOT NULL,
  deadline BIGINT NOT NULL,
  resolved_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS compute_sla_history_by_job ON compute_sla_history (job_id, slice);
CREATE TABLE IF NOT EXISTS compute_sla_proofs (
  sequence BIGINT PRIMARY KEY,
  job_id TEXT NOT NULL,
  circuit_hash TEXT NOT NULL,
  backend TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  latency_ms BIGINT NOT NULL,
  verdict TEXT NOT NULL,
  bundles BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS compute_sla_proofs_by_job ON compute_sla_proofs (job_id, sequence);
CREATE VIEW snark_proofs AS
  SELECT job_id, CASE WHEN MAX(verdict) = '' THEN 1 ELSE 0 END AS verified FROM compute_sla_proofs GROUP BY job_id;
