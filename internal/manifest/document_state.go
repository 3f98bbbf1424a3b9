package manifest

// serviceSection says what keeps state: a kind of server, or the URL of one.
type serviceSection struct {
	At position `json:"-"`

	Kind        set[serviceKind]    `json:"kind,omitempty" jsonschema_description:"What serves, in whichever version is installed: postgres, mariadb or redis. A service can be written as this alone."`
	Postgres    set[serviceVersion] `json:"postgres,omitempty" jsonschema_description:"A PostgreSQL server of this version. The app is given DATABASE_URL."`
	MariaDB     set[serviceVersion] `json:"mariadb,omitempty" jsonschema_description:"A MariaDB server of this version. The app is given DATABASE_URL."`
	Redis       set[serviceVersion] `json:"redis,omitempty" jsonschema_description:"A Redis, or Valkey, server of this version. The app is given REDIS_URL."`
	URL         set[serviceURL]     `json:"url,omitempty" jsonschema_description:"A server of your own: postgres://, mysql:// or redis://, or secret:NAME where the URL is a secret; then say its kind too."`
	Replica     set[truth]          `json:"replica,omitempty" jsonschema_description:"Whether a second server follows the first; it is read at DATABASE_REPLICA_URL. Default: false."`
	Synchronous set[truth]          `json:"synchronous,omitempty" jsonschema_description:"Whether the replica has everything before it is acknowledged; only then it takes over by itself. Default: false."`
	Memory      set[size]           `json:"memory,omitempty" jsonschema:"minimum=16MiB,maximum=1TiB" jsonschema_description:"What a database keeps in memory, or all that Redis holds. Default: 128MiB, of PostgreSQL 512MiB, of Redis 256MiB."`
	Connections set[count]          `json:"connections,omitempty" jsonschema:"minimum=2,maximum=10000" jsonschema_description:"How many connections the app may have open. Default: 100."`
	Limits      *limitsSection      `json:"limits,omitempty" jsonschema_description:"What each of its servers may use, enforced by the kernel. Default: no limits."`
	Pool        *poolSection        `json:"pool,omitempty" jsonschema_description:"How many connections each instance opens, or a pooler before the server."`
	Extensions  []set[extension]    `json:"extensions,omitempty" jsonschema_description:"Extensions of PostgreSQL that are to be there."`
	Policy      set[policy]         `json:"policy,omitempty" jsonschema_description:"What Redis does when its memory is full. Default: noeviction."`
}

func (s *serviceSection) shorthand() scalarField { return &s.Kind }

// poolSection is written as a number, or in full.
type poolSection struct {
	At position `json:"-"`

	Each set[count]    `json:"each,omitempty" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"How many connections each instance opens at most. Default: not known. A pool can be written as this alone."`
	Mode set[poolMode] `json:"mode,omitempty" jsonschema_description:"Puts PgBouncer before PostgreSQL: a client has a connection for a transaction, or for as long as it is there. Default: no pooler."`
	Size set[count]    `json:"size,omitempty" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"How many connections the pooler has open to the server. Default: 20, or connections if that is less."`
}

func (s *poolSection) shorthand() scalarField { return &s.Each }

// filesSection is written as a path, or in full.
type filesSection struct {
	At position `json:"-"`

	Path    set[folderPath] `json:"path,omitempty" jsonschema_description:"Where every instance finds the folder: absolute, or relative to the folder of the built app."`
	Quota   set[size]       `json:"quota,omitempty" jsonschema:"minimum=1MiB,maximum=1024TiB" jsonschema_description:"How much it may hold. Default: no limit."`
	Public  set[publicPath] `json:"public,omitempty" jsonschema_description:"A path under which everybody may read its files, but not list them. Default: nobody may."`
	Signed  set[truth]      `json:"signed,omitempty" jsonschema_description:"Whether signed requests of S3, presigned URLs among them, are answered on the app's hosts too, below /NAME. Default: false."`
	Enqueue set[name]       `json:"enqueue,omitempty" jsonschema_description:"The queue in which each object that is uploaded as S3 becomes a run. Default: none does."`
	S3      set[bucketURL]  `json:"s3,omitempty" jsonschema_description:"A bucket of your own in which the files are instead: s3://bucket/prefix?endpoint=https://host&region=name."`
}

func (s *filesSection) shorthand() scalarField { return &s.Path }

// backupSection says how one service, or the files, are kept safe.
type backupSection struct {
	At position `json:"-"`

	Daily   set[timeOfDay] `json:"daily,omitempty" jsonschema_description:"When, in UTC. Default: 04:30."`
	Keep    set[duration]  `json:"keep,omitempty" jsonschema:"minimum=1d,maximum=3650d" jsonschema_description:"How long a backup is kept, counted from the newest one. Default: 30d."`
	PITR    set[truth]     `json:"pitr,omitempty" jsonschema_description:"Whether the changes between backups are kept too, so that any second can be restored. Default: true for a database."`
	Smoke   set[command]   `json:"smoke,omitempty" jsonschema_description:"The app's own word on a restored service: a command that each drill runs in the release, with the restored one at DATABASE_URL or REDIS_URL."`
	Enabled set[truth]     `json:"enabled,omitempty" jsonschema_description:"Whether it is carried out. Default: true."`
}

func (s *backupSection) shorthand() scalarField { return &s.Daily }
