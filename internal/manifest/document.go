package manifest

// document is tide.yaml as it is written: the decoder reads into it, the JSON
// Schema is generated from it, a draft is written from it. A field's limits are
// in its jsonschema tag, for durations and sizes too.
type document struct {
	At position `json:"-"`

	App          set[name]                    `json:"app" jsonschema_description:"The app's name: lower-case letters, digits and hyphens, at most 40. It is served at https://NAME.localhost:8443."`
	Build        *buildSection                `json:"build,omitempty" jsonschema_description:"How the source becomes what is run. Left out, the source is run as it is."`
	Processes    map[name]*processSection     `json:"processes,omitempty" jsonschema_description:"What runs, by name. The process named web is given the requests. Can be left out where there are schedules with commands."`
	Release      set[command]                 `json:"release,omitempty" jsonschema_description:"A command that is run once per release before it gets traffic, for example to migrate a database."`
	Schedules    map[name]*scheduleSection    `json:"schedules,omitempty" jsonschema_description:"What is done at certain times, by name."`
	Queues       map[name]*queueSection       `json:"queues,omitempty" jsonschema_description:"What holds for the runs of a queue, by its name. A queue that is not listed has the defaults."`
	Jobs         *jobsSection                 `json:"jobs,omitempty" jsonschema_description:"What holds for all runs together."`
	Mail         *mailSection                 `json:"mail,omitempty" jsonschema_description:"What holds for the mails that the platform sends for the app."`
	Env          map[variable]set[content]    `json:"env,omitempty" jsonschema_description:"Environment variables of every process and of the release command."`
	Domains      []set[host]                  `json:"domains,omitempty" jsonschema_description:"Host names at which production is served. Other environments name their own."`
	Keep         set[count]                   `json:"keep,omitempty" jsonschema:"minimum=2,maximum=1000" jsonschema_description:"How many releases are kept for a rollback. Default: 10."`
	Services     map[name]*serviceSection     `json:"services,omitempty" jsonschema_description:"Databases and the like, by name."`
	Files        map[name]*filesSection       `json:"files,omitempty" jsonschema_description:"Folders that all instances share and that outlive them, by name."`
	Secrets      []set[variable]              `json:"secrets,omitempty" jsonschema_description:"Names of secrets that must be set before the app can be released. All secrets that are set are given to it."`
	Backups      map[name]*backupSection      `json:"backups,omitempty" jsonschema_description:"What is kept safe: the name of a service, or files."`
	Cache        []*cacheSection              `json:"cache,omitempty" jsonschema_description:"What edges keep of the app's answers, and for how long. Without it nothing is kept; with it, what no rule matches is kept as the answers say."`
	Environments map[name]*environmentSection `json:"environments,omitempty" jsonschema_description:"What is different in an environment, by its name: production, staging, ..."`
	Events       []*eventSection              `json:"events,omitempty" jsonschema_description:"Times at which more traffic is expected, in production."`

	RateLimits []*rateLimitSection            `json:"rate_limits,omitempty" jsonschema_description:"How many requests there may be in a time; what exceeds it is answered with 429."`
	MaxBody    set[size]                      `json:"max_body,omitempty" jsonschema:"minimum=1KiB,maximum=1024TiB" jsonschema_description:"How long the body of a request may be; a longer one is answered with 413. Default: as long as it likes."`
	Headers    map[headerName]set[content]    `json:"headers,omitempty" jsonschema_description:"Headers that answers have, in place of the app's own; an empty one is taken out."`
	ErrorPages map[pageStatus]set[sourcePath] `json:"error_pages,omitempty" jsonschema_description:"Pages, files of the app's folder, for answers that the edge gives by itself: 413, 429, 502, 503, 504."`

	laterSections
}

// laterSections are keys of tide.yaml and of its environments that are
// recognised and not carried out yet.
type laterSections struct {
	Budget later `json:"budget,omitempty" jsonschema_description:"What the app may cost. Not carried out by this version."`
	Locks  later `json:"locks,omitempty" jsonschema_description:"Names of locks that jobs share. Not carried out by this version."`
	Alerts later `json:"alerts,omitempty" jsonschema_description:"Who is told of what. Not carried out by this version."`
}

// buildSection is written as a command, or in full.
type buildSection struct {
	At position `json:"-"`

	Command set[command]              `json:"command,omitempty" jsonschema_description:"Run by sh in a clean copy of the source."`
	Timeout set[duration]             `json:"timeout,omitempty" jsonschema:"minimum=1s,maximum=1d" jsonschema_description:"How long the build may take. Default: 15m."`
	Limits  *limitsSection            `json:"limits,omitempty" jsonschema_description:"What the build may use. Default: no limits of its own."`
	Env     map[variable]set[content] `json:"env,omitempty" jsonschema_description:"Environment variables of the build."`

	Base  set[image]      `json:"base,omitempty" jsonschema_description:"The image that the app is laid upon, with a tag or a digest: debian:12-slim. A cluster runs the app in it; one machine does without."`
	Push  set[repository] `json:"push,omitempty" jsonschema_description:"A repository of your own that releases are pushed to as images, and that a cluster pulls them from."`
	Login set[variable]   `json:"login,omitempty" jsonschema_description:"The secret with USER:PASSWORD for push, or for base if there is no push. It is not given to the app. Left out, the docker config of the platform's user is asked."`

	Image      later `json:"image,omitempty" jsonschema_description:"A container image to run instead of building. Not carried out by this version."`
	Dockerfile later `json:"dockerfile,omitempty" jsonschema_description:"A Dockerfile to build. Not carried out by this version."`
}

func (s *buildSection) shorthand() scalarField { return &s.Command }

// processSection is written as a command, or in full.
type processSection struct {
	At position `json:"-"`

	Command set[command]              `json:"command,omitempty" jsonschema_description:"Run by sh in the folder of the built app. A process with requests listens on $PORT. A worker can do without where all of its runs have commands of their own."`
	HTTP    set[truth]                `json:"http,omitempty" jsonschema_description:"Whether the process is given the requests; one process is. Default: true for web."`
	Health  *healthSection            `json:"health,omitempty" jsonschema_description:"How an instance is found to be ready and well. Default: whether it accepts connections on $PORT, if it is given requests."`
	Scale   *scaleSection             `json:"scale,omitempty" jsonschema_description:"How many instances there are."`
	Env     map[variable]set[content] `json:"env,omitempty" jsonschema_description:"Environment variables of this process."`
	Queues  []set[name]               `json:"queues,omitempty" jsonschema_description:"Queues from which it takes runs: that makes it a worker."`
	Runner  set[runner]               `json:"runner,omitempty" jsonschema_description:"Who leases the runs of a worker: tide, which starts the command once for each, or the process itself (own), over HTTP. Default: tide."`
	Drain   set[duration]             `json:"drain,omitempty" jsonschema:"minimum=1ms,maximum=7d" jsonschema_description:"How long requests may go on after an instance got its last new one. Default: 30s."`
	Timeout set[duration]             `json:"timeout,omitempty" jsonschema:"minimum=1ms,maximum=7d" jsonschema_description:"How long an instance may take to begin its answer to a request that it has got whole; then the client gets 504. Default: as long as it likes. Of a worker, how long one attempt of a run may take. Default: 1h."`
	Grace   set[duration]             `json:"grace,omitempty" jsonschema:"minimum=1ms,maximum=1h" jsonschema_description:"How long the process, or the command of a run, may go on after SIGTERM before it is killed. Default: 10s."`
	Streams set[streams]              `json:"streams,omitempty" jsonschema_description:"What drain does with WebSockets and event streams: close them, or let them finish like requests. Default: close."`
	Limits  *limitsSection            `json:"limits,omitempty" jsonschema_description:"What one instance may use. Default: no limits."`

	TryTimeout set[duration]  `json:"try_timeout,omitempty" jsonschema:"minimum=1ms,maximum=7d" jsonschema_description:"How long one instance may take to begin its answer to a request that can be repeated; then another one is asked. Default: as long as timeout says."`
	SlowStart  set[duration]  `json:"slow_start,omitempty" jsonschema:"minimum=1s,maximum=1h" jsonschema_description:"Over how long a new instance's share of the requests grows to that of the others. Default: it has its share at once, and less as soon as it proves to be slow."`
	Sticky     *stickySection `json:"sticky,omitempty" jsonschema_description:"Whether a client's requests go to one instance. Default: to any."`
}

func (s *processSection) shorthand() scalarField { return &s.Command }

// healthSection is written as a path, or in full.
type healthSection struct {
	At position `json:"-"`

	Path     set[urlPath]  `json:"path,omitempty" jsonschema_description:"Requested over HTTP; 200 to 399 is healthy."`
	TCP      set[truth]    `json:"tcp,omitempty" jsonschema_description:"Whether accepting a connection on $PORT is being healthy."`
	Command  set[command]  `json:"command,omitempty" jsonschema_description:"Run by sh where the instance runs; exit status 0 is healthy."`
	Interval set[duration] `json:"interval,omitempty" jsonschema:"minimum=100ms,maximum=1h" jsonschema_description:"Time between two probes. Default: 5s."`
	Timeout  set[duration] `json:"timeout,omitempty" jsonschema:"minimum=10ms,maximum=10m" jsonschema_description:"How long a probe may take. Default: 2s."`
	Start    set[duration] `json:"start,omitempty" jsonschema:"minimum=100ms,maximum=1d" jsonschema_description:"How long an instance may take to become ready. Default: 60s."`
	Failures set[count]    `json:"failures,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"How many failures in a row make an instance unhealthy. Default: 3."`
}

func (s *healthSection) shorthand() scalarField { return &s.Path }

// scaleSection says how many instances a process has.
type scaleSection struct {
	At position `json:"-"`

	Min      set[count]      `json:"min,omitempty" jsonschema:"minimum=0,maximum=10000" jsonschema_description:"The fewest instances; 0 lets the process stop when nobody needs it. Default: 1, for a worker 0."`
	Max      set[count]      `json:"max,omitempty" jsonschema:"minimum=1,maximum=10000" jsonschema_description:"The most instances. Default: 4 for the process with requests and for workers, else 1; at least min."`
	Target   *targetSection  `json:"target,omitempty" jsonschema_description:"What the number of instances is chosen for."`
	Queue    *outsideSection `json:"queue,omitempty" jsonschema_description:"A queue of somebody else's, in Redis or elsewhere, from which the process takes messages; it is scaled by how many wait. Default: none."`
	Spare    set[count]      `json:"spare,omitempty" jsonschema:"minimum=0,maximum=10000" jsonschema_description:"How many more instances there are than are needed, within max, while any is. Default: 0."`
	Priority set[priority]   `json:"priority,omitempty" jsonschema_description:"The weight of the process where those of a machine want more than it has: low (1), normal (10), high (100), or a number. Default: normal."`
	Idle     set[duration]   `json:"idle,omitempty" jsonschema:"minimum=1s,maximum=30d" jsonschema_description:"How long no request arrives, or no run waits, before the last instance stops, where min is 0. Default: 5m, for a worker 1m."`
	Stable   set[duration]   `json:"stable,omitempty" jsonschema:"minimum=1s,maximum=1d" jsonschema_description:"How long less must have been needed before instances are taken away. Default: learnt from the app's start."`
}

// targetSection says what the number of instances is chosen for.
type targetSection struct {
	At position `json:"-"`

	Concurrency set[count]    `json:"concurrency,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"How many requests, or runs, one instance has at a time, at most. Default: 40, for a worker 1."`
	Wait        set[duration] `json:"wait,omitempty" jsonschema:"minimum=10ms,maximum=1d" jsonschema_description:"How long a run should wait for its turn at most. Default: 5s."`
	Requests    set[rate]     `json:"requests,omitempty" jsonschema_description:"How many requests a second one instance is to have. Default: not scaled by it."`
	P95         set[duration] `json:"p95,omitempty" jsonschema:"minimum=1ms,maximum=10m" jsonschema_description:"The latency, to the first byte of the answer, that 95 of 100 requests are to stay below. Default: not scaled by it."`
	CPU         set[percent]  `json:"cpu,omitempty" jsonschema:"minimum=1%,maximum=100%" jsonschema_description:"How busy an instance's processor is to be: a share of limits.cpu, or of one core where there is no limit. Default: not scaled by it."`
}

// limitsSection bounds what an instance or a build may use.
type limitsSection struct {
	At position `json:"-"`

	CPU       set[cores] `json:"cpu,omitempty" jsonschema:"minimum=0.01,maximum=1024" jsonschema_description:"In cores: 0.5 is half of one."`
	Memory    set[size]  `json:"memory,omitempty" jsonschema:"minimum=1MiB,maximum=64TiB" jsonschema_description:"With its unit: 256MiB."`
	Processes set[count] `json:"processes,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Processes and threads."`
}

// environmentSection is what is different in one environment.
type environmentSection struct {
	At position `json:"-"`

	Domains   []set[host]               `json:"domains,omitempty" jsonschema_description:"Host names at which the environment is served."`
	Env       map[variable]set[content] `json:"env,omitempty" jsonschema_description:"Environment variables that are added or different."`
	Scale     map[name]*scaleSection    `json:"scale,omitempty" jsonschema_description:"How many instances there are, by process."`
	Processes map[name]*processSection  `json:"processes,omitempty" jsonschema_description:"What is different in a process."`
	Schedules map[name]*scheduleSection `json:"schedules,omitempty" jsonschema_description:"What is different in a schedule."`
	Release   set[command]              `json:"release,omitempty" jsonschema_description:"The release command of this environment."`
	Services  map[name]*serviceSection  `json:"services,omitempty" jsonschema_description:"What is added, or different in a service."`
	Files     map[name]*filesSection    `json:"files,omitempty" jsonschema_description:"What is added, or different in a shared folder."`
	Secrets   []set[variable]           `json:"secrets,omitempty" jsonschema_description:"The secrets that this environment needs, in place of the others."`
	Backups   map[name]*backupSection   `json:"backups,omitempty" jsonschema_description:"What is different in a backup."`
	Cache     []*cacheSection           `json:"cache,omitempty" jsonschema_description:"What edges keep of this environment's answers, in place of the others."`

	RateLimits []*rateLimitSection            `json:"rate_limits,omitempty" jsonschema_description:"How many requests there may be in a time; what exceeds it is answered with 429. In place of the others."`
	MaxBody    set[size]                      `json:"max_body,omitempty" jsonschema:"minimum=1KiB,maximum=1024TiB" jsonschema_description:"How long the body of a request may be; a longer one is answered with 413."`
	Headers    map[headerName]set[content]    `json:"headers,omitempty" jsonschema_description:"Headers that answers have, in place of the app's own; an empty one is taken out."`
	ErrorPages map[pageStatus]set[sourcePath] `json:"error_pages,omitempty" jsonschema_description:"Pages, files of the app's folder, for answers that the edge gives by itself: 413, 429, 502, 503, 504."`

	Events []*eventSection `json:"events,omitempty" jsonschema_description:"Times at which more traffic is expected in this environment, in place of the others."`

	laterSections
}
