package torture

import (
	"fmt"
	"os"
	"strings"

	"github.com/springtide/springtide"
)

// The queues. Workers of the protocol take from all but the last.
const (
	bulkQueue     = "bulk"
	slotsQueue    = "slots"
	limitedQueue  = "limited"
	commandsQueue = "commands"
)

// limitedMost is how many runs of the limited queue may be under way.
const limitedMost = 7

// kinds are the commands that tide runner is given: see script.
var kinds = []struct {
	name     string
	timeout  float64 // in seconds; 0: as the runner says
	attempts int     // 0: as the queue says
	onLost   springtide.OnLost
	expect   string
}{
	{"quick", 0, 0, "", "succeeded"},
	{"quick", 0, 0, springtide.LostFail, "over"},
	{"slow", 0, 0, "", "succeeded"},
	{"forks", 0, 0, "", "succeeded"},
	{"fails", 0, 0, "", "succeeded"},
	{"never", 0, 0, "", "dead"},
	{"late", 1, 1, "", "dead"},
	{"deaf", 1, 1, "", "dead"},
}

// script is what tide runner runs. An attempt holds a lock for as long as
// anything of it lives, and so notices if an earlier one, or one of another slot
// of its schedule, is not over.
const script = `#!/bin/sh
complain() { echo "$RUN_ID, attempt $ATTEMPT, fence $FENCE: $1" >> "$LOCKS/complaints"; }
exec 9> "$LOCKS/run-$RUN_ID"
flock -n 9 || complain "something of an earlier attempt lives"
if [ -n "$SCHEDULE" ]; then
	exec 8> "$LOCKS/schedule-$SCHEDULE"
	flock -n 8 || complain "something of another slot of $SCHEDULE lives"
fi
printf '{"run":"%s","fence":%s,"attempt":%s}' "$RUN_ID" "$FENCE" "$ATTEMPT" > "$RUN_RESULT"
case $1 in
slow) sleep 2 ;;
forks) (setsid sleep 600 &) ; setsid sh -c 'trap "" TERM; sleep 600' & ;;
fails) [ "$ATTEMPT" -gt 1 ] || exit 1 ;;
never) exit 65 ;;
late) sleep 600 ;;
deaf) trap '' TERM; while :; do sleep 600; done ;;
esac
exit 0
`

// plan is what the manifest says of the schedules.
type plan struct {
	// version is that of the deploy; each adds, removes and changes a few.
	version int
	// none says that there are no schedules yet.
	none bool
	// each is how many schedules of every second there are of each kind.
	each int
	// last says that only a few are left, for a long jump of the clock.
	last bool
	// concurrency of the environment; 0: no limit.
	concurrency int
}

type scheduleText struct {
	name, times, more string
}

// schedules lists them.
func (p plan) schedules() []scheduleText {
	// One of each is there from the first deploy to the last.
	var all []scheduleText
	each := p.each
	if p.last {
		each = 0
	}
	for _, overlap := range []string{"skip", "queue", "allow", "replace"} {
		for _, missed := range []string{"skip", "latest", "all"} {
			for i := range each {
				all = append(all, scheduleText{
					fmt.Sprintf("%s-%s-%d", overlap, missed, i), "every: 1s",
					fmt.Sprintf("overlap: %s, missed: %s, deadline: %ds, queue: slots", overlap, missed, 5+i),
				})
			}
		}
	}
	all = append(all,
		scheduleText{"long-allow", "every: 1s", "overlap: allow, missed: all, queue: slots"},
		scheduleText{"long-skip", "every: 1s", "overlap: skip, missed: skip, queue: slots"},
		scheduleText{"long-latest", "every: 1s", "overlap: replace, missed: latest, queue: slots"},
		scheduleText{"long-queue", "every: 10s", "overlap: queue, missed: all, queue: slots"},
		scheduleText{"cron-1", `cron: "* * * * *"`, "overlap: queue, missed: all, queue: slots"},
		scheduleText{"cron-2", `cron: "*/3 * * * mon-sun", timezone: Europe/Warsaw`, "overlap: allow, missed: all, queue: slots"},
	)
	if p.last {
		return all
	}
	return append(all,
		scheduleText{"jitter-1", "every: 1s", "overlap: allow, missed: all, jitter: 2s, queue: slots"},
		scheduleText{"jitter-2", "every: 1s", "overlap: queue, missed: latest, jitter: 500ms, queue: slots"},
		scheduleText{"command-1", "every: 2s", `command: "./task.sh quick", overlap: skip, missed: latest, queue: commands`},
		scheduleText{"command-2", "every: 3s", `command: "./task.sh slow", overlap: replace, missed: latest, queue: commands`},
		scheduleText{"command-3", "every: 5s", `command: "./task.sh forks", overlap: queue, missed: latest, queue: commands`},
		// These come, change and go.
		scheduleText{fmt.Sprintf("passing-%d", p.version), "every: 1s", "overlap: allow, missed: all, queue: slots"},
		scheduleText{fmt.Sprintf("passing-%d", p.version%3), "every: 2s", "overlap: allow, missed: all, queue: slots"},
		scheduleText{"changing", fmt.Sprintf("every: %ds", 1+p.version%3), "overlap: allow, missed: latest, queue: slots"},
	)
}

// text is the manifest.
func (p plan) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `app: torture
processes:
  hands: { command: ./none, queues: [%s, %s, %s], runner: own }
  commands: { queues: [%s], timeout: 20s }
queues:
  bulk: { attempts: 1000 }
  slots: { attempts: 1000 }
  commands: { attempts: 1000 }
  limited: { attempts: 1000, concurrency: %d }
`, bulkQueue, slotsQueue, limitedQueue, commandsQueue, limitedMost)
	if p.concurrency > 0 {
		fmt.Fprintf(&b, "jobs: { concurrency: %d }\n", p.concurrency)
	}
	if p.none {
		return b.String()
	}
	b.WriteString("schedules:\n")
	said := map[string]bool{}
	for _, s := range p.schedules() {
		if said[s.name] {
			continue
		}
		said[s.name] = true
		fmt.Fprintf(&b, "  %s: { %s, payload: {\"expect\":\"succeeded\"}, %s }\n", s.name, s.times, s.more)
	}
	return b.String()
}

// write makes it the manifest that servers start with from now on.
func (p plan) write(path string) error {
	if err := os.WriteFile(path+".new", []byte(p.text()), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
