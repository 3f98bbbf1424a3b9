package manifest

// scheduleSection says what is done when.
type scheduleSection struct {
	At position `json:"-"`

	Cron     set[expression] `json:"cron,omitempty" jsonschema_description:"Five fields (minute, hour, day of the month, month, day of the week), or @daily and the like."`
	Every    set[duration]   `json:"every,omitempty" jsonschema:"minimum=1s,maximum=366d" jsonschema_description:"An interval, in place of cron; counted from midnight UTC of 1 January 1970."`
	Timezone set[zone]       `json:"timezone,omitempty" jsonschema_description:"The zone of the times, by its IANA name. Default: UTC."`
	Command  set[command]    `json:"command,omitempty" jsonschema_description:"Run by sh in the folder of the built app. Default: the command of the worker that serves the queue."`
	URL      set[callURL]    `json:"url,omitempty" jsonschema_description:"Is sent a POST, in place of a command; a path is the app's own."`
	Payload  set[payload]    `json:"payload,omitempty" jsonschema_description:"Anything; the command is given it as JSON on its standard input, the URL as its body."`
	Queue    set[name]       `json:"queue,omitempty" jsonschema_description:"The queue of the runs. Default: default."`
	Missed   set[missed]     `json:"missed,omitempty" jsonschema_description:"What becomes of times at which no server was up: skip runs the newest if it is within its deadline, latest the newest in any case, all every one. Default: latest."`
	Overlap  set[overlap]    `json:"overlap,omitempty" jsonschema_description:"What becomes of a time at which the run before is not over: skip, queue (it waits), allow (both run), replace (the one before is cancelled). Default: skip."`
	Deadline set[duration]   `json:"deadline,omitempty" jsonschema:"minimum=1s,maximum=7d" jsonschema_description:"How long after its time a run may start without being late. Default: 10m."`
	Jitter   set[duration]   `json:"jitter,omitempty" jsonschema:"minimum=0s,maximum=7d" jsonschema_description:"Starts are spread over so long after their time. Default: 0s."`
	Timeout  set[duration]   `json:"timeout,omitempty" jsonschema:"minimum=1s,maximum=7d" jsonschema_description:"How long one attempt may take. Default: as the worker says."`
	Attempts set[count]      `json:"attempts,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"How often a run is tried at most. Default: as the queue says."`
	OnLost   set[onLost]     `json:"on_lost,omitempty" jsonschema_description:"What becomes of a run whose runner was lost after its start: retry, or fail, since it may have done its work. Default: retry."`
	Priority set[count]      `json:"priority,omitempty" jsonschema:"minimum=-100,maximum=100" jsonschema_description:"A lower number goes first; one step is worth a minute of waiting. Default: 0."`
	Enabled  set[truth]      `json:"enabled,omitempty" jsonschema_description:"Whether it is carried out. Default: true."`
}

// queueSection says what holds for the runs of one queue.
type queueSection struct {
	At position `json:"-"`

	Concurrency set[count]    `json:"concurrency,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"How many of its runs are under way at most. Default: no limit."`
	Attempts    set[count]    `json:"attempts,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"How often a run is tried at most, if it does not say itself. Default: 25."`
	Retention   set[duration] `json:"retention,omitempty" jsonschema:"minimum=1m,maximum=365d" jsonschema_description:"How long runs that ended well, or never were, are remembered. Default: 7d."`
}

// jobsSection says what holds for all runs together.
type jobsSection struct {
	At position `json:"-"`

	Concurrency set[count]             `json:"concurrency,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"How many runs are under way at most. Default: no limit."`
	Calls       map[callHost]set[rate] `json:"calls,omitempty" jsonschema_description:"How many requests a second a host is sent at most; * stands for all others."`
}

// mailSection says what holds for mails.
type mailSection struct {
	At position `json:"-"`

	From set[address] `json:"from,omitempty" jsonschema_description:"The sender of mails that name none, like Quiz <quiz@example.com>."`
}
