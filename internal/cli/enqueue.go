package cli

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

// jobFlags are what `tide jobs enqueue` is told of a job.
type jobFlags struct {
	job                        springtide.Job
	queue, kind, scope, onLost string
	payload, url, method, at   string
	headers                    map[string]string
	wait                       bool
}

func (s *session) enqueue() *cobra.Command {
	var f jobFlags
	command := &cobra.Command{
		Use:   "enqueue [flags] [-- COMMAND [ARGUMENT]...]",
		Short: "Hand a job over",
		Long: `Hand a job over: to a worker of the app, which runs COMMAND or the worker's own
command with the payload on its stdin; with --url to the platform, which makes a
request; with --kind mail to the platform, which sends a mail.

The ID of its run goes to stdout. With --wait its output does, as it comes, and the
exit code is 0 if it succeeded.`,
		Example: "  tide jobs enqueue --payload '{\"order\":7}' --key order-7\n  tide jobs enqueue --delay 10m -- ./bin/remind --all\n  tide jobs enqueue --url https://api.example.com/hook --payload '{}'",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			job, err := f.jobOf(args, s.stdin)
			if err != nil {
				return err
			}
			return s.enqueueJob(ctx, c, id, job, f.wait)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&f.queue, "queue", "", "the queue; default if none is named")
	flags.StringVar(&f.kind, "kind", "", "command, http or mail; default: command, and http with --url")
	flags.StringVar(&f.payload, "payload", "", "JSON for the job; - reads it from stdin")
	flags.StringVar(&f.url, "url", "", "where the request goes to; a path alone is the app's own")
	flags.StringVar(&f.method, "method", "", "its method; default: POST")
	flags.StringToStringVar(&f.headers, "header", nil, "its headers, NAME=VALUE")
	flags.StringVar(&f.job.Key, "key", "", "the same key makes no second run")
	flags.StringVar(&f.scope, "key-scope", "", "kept: as long as the run is remembered (the default); active: until it is over")
	flags.DurationVar(&f.job.Delay, "delay", 0, "begin that much later")
	flags.StringVar(&f.at, "at", "", "begin at this time: 2026-05-03T09:00:00Z")
	flags.IntVar(&f.job.Priority, "priority", 0, "a lower number goes first, -100 to 100")
	flags.IntVar(&f.job.Attempts, "attempts", 0, "how often it is tried at most; 0: as the queue says")
	flags.DurationVar(&f.job.Timeout, "timeout", 0, "how long one attempt may take; 0: as the worker says")
	flags.StringVar(&f.onLost, "on-lost", "", "if its runner is lost on the way: retry (the default) or fail")
	flags.BoolVar(&f.wait, "wait", false, "show its output and wait for its end")
	return command
}

// jobOf makes the job of the flags and the command behind them.
func (f jobFlags) jobOf(args []string, stdin io.Reader) (springtide.Job, error) {
	job := f.job
	job.Queue, job.Kind = springtide.QueueName(f.queue), springtide.RunKind(f.kind)
	job.KeyScope, job.OnLost = springtide.KeyScope(f.scope), springtide.OnLost(f.onLost)
	if len(args) > 0 {
		job.Command = commandLine(args)
	}
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return job, springtide.Errorf(springtide.Invalid, "--at %q is not a time", f.at).WithHint("for example 2026-05-03T09:00:00Z")
		}
		job.RunAt = at
	}
	payload, err := readPayload(f.payload, stdin)
	if err != nil {
		return job, err
	}
	job.Payload = payload
	if f.url == "" {
		if f.method != "" || len(f.headers) > 0 {
			return job, springtide.Errorf(springtide.Invalid, "--method and --header are of a request").WithHint("say where it goes to, with --url")
		}
		return job, nil
	}
	if job.Kind == "" {
		job.Kind = springtide.RunHTTP
	}
	if job.Kind != springtide.RunHTTP || job.Command != "" {
		return job, springtide.Errorf(springtide.Invalid, "a job either makes a request or runs a command").WithHint("leave out --url, or the command")
	}
	job.Payload, err = json.Marshal(springtide.HTTPCall{URL: f.url, Method: f.method, Headers: f.headers, Body: payload})
	return job, err
}

func readPayload(text string, stdin io.Reader) (json.RawMessage, error) {
	if text == "-" {
		all, err := io.ReadAll(io.LimitReader(stdin, springtide.PayloadLimit+1))
		if err != nil {
			return nil, err
		}
		if len(all) > springtide.PayloadLimit {
			return nil, springtide.Errorf(springtide.Invalid, "the payload exceeds %d KiB", springtide.PayloadLimit>>10).
				WithHint("put it where the job can read it, and pass on its name")
		}
		text = strings.TrimSpace(string(all))
	}
	if text == "" {
		return nil, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, springtide.Errorf(springtide.Invalid, "the payload is not JSON").WithHint(`for example '{"order":7}' or '"some text"'`)
	}
	return json.RawMessage(text), nil
}

func (s *session) enqueueJob(ctx context.Context, c *client.Client, id springtide.EnvironmentID, job springtide.Job, wait bool) error {
	enqueued, err := c.Enqueue(ctx, id, job)
	if err != nil {
		return err
	}
	if enqueued.Existing {
		s.tell("the key %s has this run already:", job.Key)
	}
	if wait {
		return s.waitForJob(ctx, c, id, enqueued.Run)
	}
	if s.json {
		return s.printJSON(enqueued)
	}
	return s.print("%s", enqueued.Run)
}

// waitForJob shows the output of a run and ends as the run does.
func (s *session) waitForJob(ctx context.Context, c *client.Client, id springtide.EnvironmentID, run springtide.RunID) error {
	s.tell("%s", run)
	var over springtide.Run
	var err error
	if s.json { // which has the end of the output
		over, err = c.WaitJob(ctx, id, run)
	} else {
		over, err = c.FollowJob(ctx, id, run, s.stdout)
	}
	if err != nil {
		if ctx.Err() != nil {
			s.tell("the run goes on; `tide jobs show %s` tells how it stands", run)
		}
		return err
	}
	if s.json {
		if err := s.printJSON(over); err != nil {
			return err
		}
	}
	if over.State == springtide.RunSucceeded {
		return nil
	}
	reason := ""
	if over.Reason != "" {
		reason = ": " + over.Reason
	}
	return springtide.Errorf(springtide.Failed, "run %s is %s%s", run, over.State, reason)
}
