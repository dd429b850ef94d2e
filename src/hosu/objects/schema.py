"""Tables of the metadata database `meta/lake.db`, format 1.

`object` holds the current version of each key and nothing else, so a listing walks live objects only.
`version` holds what is not current, and delete markers, newest first within a key. A key whose newest
version is a delete marker has no row in `object`.
"""

FORMAT = 1
"""Number of the layout below; it grows with every change that an older hosu could not read."""

VERSION_COLUMNS = (
    "seq, version_id, size_bytes, etag, modified_ms, blob_id, storage_class, "
    "checksum_algorithm, checksum_type, checksum_value, part_count, attributes"
)
"""What `object` and `version` share, in the order every statement uses."""

_VERSION_COLUMN_TYPES = """
  seq INTEGER NOT NULL,            -- of the event that made it: newer is larger, in the whole lake
  version_id TEXT NOT NULL,        -- 'null' where versioning was never on, or is suspended
  size_bytes INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified_ms INTEGER NOT NULL,
  blob_id INTEGER,                 -- NULL for an empty body
  storage_class TEXT NOT NULL,
  checksum_algorithm TEXT,
  checksum_type TEXT,
  checksum_value TEXT,
  part_count INTEGER NOT NULL,     -- 0 unless uploaded in parts
  attributes TEXT NOT NULL         -- JSON: content headers, user metadata, tags
"""

DDL = f"""
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS bucket (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL,
  region TEXT NOT NULL,
  versioning INTEGER NOT NULL,     -- 0 never, 1 enabled, 2 suspended
  alias_count INTEGER NOT NULL,
  object_count INTEGER NOT NULL,   -- current objects
  object_bytes INTEGER NOT NULL,
  version_count INTEGER NOT NULL,  -- versions that are not current, markers left out
  version_bytes INTEGER NOT NULL,
  marker_count INTEGER NOT NULL,
  part_bytes INTEGER NOT NULL,     -- of uploads in progress
  quota_bytes INTEGER NOT NULL,    -- 0 is no limit
  owner TEXT NOT NULL,             -- the user who made it; '' is root
  lock TEXT NOT NULL,              -- object lock: JSON; '' where versions cannot be locked
  protected INTEGER NOT NULL       -- prefixes below which nothing is removed or replaced lightly
) STRICT;

CREATE TABLE IF NOT EXISTS bucket_document (
  bucket_id INTEGER NOT NULL,
  kind TEXT NOT NULL,              -- 'tagging', 'cors', …
  body TEXT NOT NULL,
  PRIMARY KEY (bucket_id, kind)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS object (
  bucket_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  {_VERSION_COLUMN_TYPES},
  PRIMARY KEY (bucket_id, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS version (
  bucket_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  is_marker INTEGER NOT NULL,
  {_VERSION_COLUMN_TYPES},
  PRIMARY KEY (bucket_id, key, seq DESC)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS blob (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,           -- 0 inline, 1 file, 2 composed of segments
  is_corrupt INTEGER NOT NULL,
  refs INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,     -- before coding and encryption
  hash BLOB,                       -- BLAKE3 of the bytes; NULL for a composed blob
  verified_ms INTEGER NOT NULL,    -- when the bytes last matched the hash …
  inode INTEGER NOT NULL,          -- … in the file with this inode …
  ctime_ns INTEGER NOT NULL,       -- … and this change time
  coding TEXT,                     -- 'zstd' or 'jxl' of a compressed blob; hash is of the stored bytes then …
  coded_bytes INTEGER,             -- … of which there are so many before encryption …
  plain_hash BLOB,                 -- … and this is the BLAKE3 of the bytes they stand for
  sealed BLOB,                     -- how to open an encrypted blob; hash is of the stored bytes then
  content_hash BLOB,               -- keyed hash of an encrypted file's bytes; equal only under the same key
  body BLOB                        -- the bytes of an inline blob
) STRICT;
CREATE INDEX IF NOT EXISTS blob_by_hash ON blob (hash) WHERE kind = 1 AND is_corrupt = 0;
CREATE INDEX IF NOT EXISTS blob_coded ON blob (coding, size_bytes, coded_bytes) WHERE coding IS NOT NULL;
CREATE INDEX IF NOT EXISTS blob_by_content_hash ON blob (content_hash) WHERE content_hash IS NOT NULL;

CREATE TABLE IF NOT EXISTS segment (
  blob_id INTEGER NOT NULL,        -- the composed blob
  part_number INTEGER NOT NULL,
  piece INTEGER NOT NULL,          -- a copied part may be made of several pieces
  start INTEGER NOT NULL,          -- offset in the composed blob
  size_bytes INTEGER NOT NULL,
  child_id INTEGER NOT NULL,       -- an inline or file blob
  child_start INTEGER NOT NULL,
  checksum_value TEXT,             -- of the whole part, on its first piece
  PRIMARY KEY (blob_id, start)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS uncoded (
  seq INTEGER PRIMARY KEY,         -- order of a version that was put into the class COLD …
  bucket_id INTEGER NOT NULL,
  key TEXT NOT NULL                -- … and whose bytes nobody has tried to compress
) STRICT;

CREATE TABLE IF NOT EXISTS garbage (
  blob_id INTEGER PRIMARY KEY,     -- a file or composed blob that nothing refers to
  since_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS upload (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  upload_id TEXT NOT NULL,
  initiated_ms INTEGER NOT NULL,
  storage_class TEXT NOT NULL,
  checksum_algorithm TEXT,
  checksum_type TEXT,
  attributes TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS upload_by_key ON upload (bucket_id, key, upload_id);

CREATE TABLE IF NOT EXISTS part (
  upload INTEGER NOT NULL,
  number INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified_ms INTEGER NOT NULL,
  blob_id INTEGER,
  checksum_value TEXT,
  PRIMARY KEY (upload, number)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS completed_upload (
  upload_id TEXT PRIMARY KEY,      -- a completion sent again gets the same answer
  bucket_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  version_id TEXT NOT NULL,
  etag TEXT NOT NULL,
  completed_ms INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS completed_upload_by_age ON completed_upload (completed_ms);

CREATE TABLE IF NOT EXISTS alias (
  bucket_id INTEGER NOT NULL,
  prefix TEXT NOT NULL,
  target TEXT NOT NULL,
  seq INTEGER NOT NULL,            -- of the switch that set the target
  PRIMARY KEY (bucket_id, prefix)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS alias_switch (
  seq INTEGER PRIMARY KEY,
  bucket_id INTEGER NOT NULL,
  prefix TEXT NOT NULL,
  source TEXT,                     -- the target before; NULL when the alias was made
  target TEXT,                     -- NULL when the alias was removed
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS alias_switch_by_prefix ON alias_switch (bucket_id, prefix, seq DESC);

CREATE TABLE IF NOT EXISTS event (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  version_id TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  etag TEXT NOT NULL,
  actor TEXT NOT NULL,
  request_id TEXT NOT NULL,        -- of the request that did it …
  source_ip TEXT NOT NULL          -- … and where that came from; '' where nobody asked from outside
) STRICT;

CREATE TABLE IF NOT EXISTS audit_outbox (
  id INTEGER PRIMARY KEY,          -- never given twice: readers of the log drop repeats by it
  body BLOB NOT NULL               -- a line of the audit log, JSON, without its id
) STRICT;

CREATE TABLE IF NOT EXISTS named_key (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,        -- the newest one seals, every one opens
  wrapped BLOB NOT NULL,           -- the key, sealed by the lake key …
  lake_key TEXT NOT NULL,          -- … with this fingerprint
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (name, version)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS lake_document (
  kind TEXT PRIMARY KEY,           -- 'capacity', 'merit', …
  body TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS hold (
  name TEXT PRIMARY KEY,           -- of who reads blobs for long, as a backup does
  since_ms INTEGER NOT NULL,       -- what became garbage from then on stays …
  until_ms INTEGER NOT NULL        -- … until then; moved on while the reading lasts
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS copy_location (
  id INTEGER PRIMARY KEY,
  location TEXT NOT NULL UNIQUE,   -- where second copies are: a folder or an S3 URL
  marker TEXT NOT NULL,            -- what the file that says whose copies they are must say
  behind_ms INTEGER NOT NULL       -- since when copies are missing there; 0 while none is
) STRICT;

CREATE TABLE IF NOT EXISTS copy (
  location_id INTEGER NOT NULL,
  hash BLOB NOT NULL,              -- BLAKE3 of the stored bytes: the name of the copy
  size_bytes INTEGER NOT NULL,
  verified_ms INTEGER NOT NULL,    -- when the copy was last read and matched
  unneeded_ms INTEGER NOT NULL,    -- since when nothing protected has these bytes; 0 while something has
  PRIMARY KEY (location_id, hash)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS copy_by_hash ON copy (hash);

CREATE TABLE IF NOT EXISTS alert (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,           -- what it is about: one alert for each
  severity TEXT NOT NULL,
  message TEXT NOT NULL,
  count INTEGER NOT NULL,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  sent_ms INTEGER NOT NULL,        -- when somebody was last told; 0 for never
  resolved_ms INTEGER NOT NULL,    -- 0 while it stands
  PRIMARY KEY (kind, subject)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS notification (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  target TEXT NOT NULL,            -- who is told: 'webhook:ID', …
  bucket TEXT NOT NULL,
  rule TEXT NOT NULL,              -- JSON: of which events
  since_seq INTEGER NOT NULL,      -- of those after this one …
  until_seq INTEGER NOT NULL       -- … and before this one; 0 while the rule is in force
) STRICT;

CREATE TABLE IF NOT EXISTS undelivered (
  target TEXT NOT NULL,
  seq INTEGER NOT NULL,            -- of the event
  is_dead INTEGER NOT NULL,        -- whether it is no longer tried
  since_ms INTEGER NOT NULL,       -- from when on it has been tried
  reason TEXT NOT NULL,            -- why it could not be delivered
  message TEXT NOT NULL,           -- JSON
  PRIMARY KEY (target, is_dead, seq)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS undelivered_count ON undelivered (target, is_dead);

CREATE TABLE IF NOT EXISTS alert_told (
  target TEXT NOT NULL,            -- whom or what was told
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  first_ms INTEGER NOT NULL,       -- of the alert it was told of: another one begins at another time
  severity TEXT NOT NULL,
  told_ms INTEGER NOT NULL,
  is_resolved INTEGER NOT NULL,    -- whether that it is over was told
  PRIMARY KEY (target, kind, subject)
) WITHOUT ROWID, STRICT;

CREATE TABLE IF NOT EXISTS subscription (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
