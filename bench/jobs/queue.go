package main

import "context"

// Queue is a subject, opened in a process of its own. Its jobs are numbers.
type queue interface {
	// Enqueue returns when count jobs are durable as the subject understands it,
	// in one call if it has one for several.
	Enqueue(ctx context.Context, first, count int) error
	// Work carries out jobs until ctx ends and what had begun is over.
	Work(ctx context.Context, do worker) error
	// Unfinished counts the jobs that are not over, in whatever state.
	Unfinished(ctx context.Context) (int, error)
	// Leader names the one who keeps the schedule; empty: nobody in particular.
	Leader(ctx context.Context) (string, error)
	Close() error
}

// worker is what the jobs and the slots of the schedule do.
type worker struct {
	job func(n int)
	// slot is given what tells one slot from every other.
	slot func(identity string)
}

// opening says how a subject is opened.
type opening struct {
	// Address is that of its server; of a database that is a file, the file.
	Address string
	// Folder is where it may write.
	Folder string
	// Name is the process's.
	Name    string
	Workers int
	// Fresh has the tables made first.
	Fresh bool
	// Scheduled adds a schedule with a slot every [slotEvery].
	Scheduled bool
	// Scheduler has this process keep it, where one process must be chosen.
	Scheduler bool
}

// subject is one of those that are compared.
type subject struct {
	Name string
	// Server says what it needs: "postgres", "redis" or "" for a file.
	Server string
	// Settings are those of the server.
	Settings []string
	Open     func(context.Context, opening) (queue, error)
}

// subjects are those that are compared. Ours come first: the ratios are to them.
func subjects() []subject {
	return []subject{
		{Name: "tide, PostgreSQL", Server: "postgres", Open: openTide},
		{Name: "River, PostgreSQL", Server: "postgres", Open: openRiverPostgres},
		{Name: "tide, SQLite", Open: openTide},
		{Name: "River, SQLite", Open: openRiverSQLite},
		{Name: "asynq, fsync always", Server: "redis", Settings: []string{"--appendfsync", "always"}, Open: openAsynq},
		{Name: "asynq, fsync each second", Server: "redis", Settings: []string{"--appendfsync", "everysec"}, Open: openAsynq},
		{Name: "poller like Cavalcade, PostgreSQL", Server: "postgres", Open: openPoller},
	}
}
