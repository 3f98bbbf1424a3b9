package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/service"
)

const (
	// smokeTask is how the IDs begin of tasks that look at what a drill has restored.
	smokeTask = "smoke-"
	// smokeLimit is how long such a task may take.
	smokeLimit = 10 * time.Minute
	// smokeLines is how many of its last lines are told when it fails.
	smokeLines = 20
)

// smokes has what the tasks are given that run now: it is written nowhere.
type smokes struct {
	mu        sync.Mutex
	variables map[string]map[string]string // by the ID of the task
}

func (s *smokes) set(task string, variables map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.variables == nil {
		s.variables = map[string]map[string]string{}
	}
	s.variables[task] = variables
}

func (s *smokes) forget(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.variables, task)
}

func (s *smokes) of(task string) (map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	variables, known := s.variables[task]
	return variables, known
}

// smoke runs the app's own command against a restored service, as the active
// release is, but with nothing of what is in use. An error of kind Failed is the
// command's own word.
func (s *state) smoke(ctx context.Context, of backup.Subject, command, url string) error {
	_, release, err := s.fleet.Environment(of.Environment)
	if err != nil {
		return err
	}
	template, err := s.place(ctx, release)
	if err != nil {
		return err
	}
	template.Env, template.Process.Limits = release.Env(template.Process), release.App.Build.Limits
	maps.DeleteFunc(template.Env, func(name, _ string) bool { return leads(release.App.Services, name) })
	task := springtide.Task{
		ID: smokeTask + strings.ToLower(rand.Text()), Environment: of.Environment, Release: release.Number, Command: command,
		Template: template, Timeout: smokeLimit,
	}
	s.smokes.set(task.ID, service.Leading(release.App.Services, springtide.ServiceName(of.Of), url))
	defer s.smokes.forget(task.ID)
	exit, err := s.engine.Exec(ctx, task)
	switch {
	case err != nil && ctx.Err() != nil: // the restored server, or the drill, has ended
		return context.Cause(ctx)
	case err != nil:
		return springtide.Errorf(cmp.Or(springtide.KindOf(err), springtide.Unavailable), "%q could not be run: %w", command, err)
	case exit.Code != 0:
		failure := springtide.Errorf(springtide.Failed, "%q failed: %s", command, exit.Reason)
		failure.Lines = s.lastLines(ctx, task)
		return failure
	}
	return nil
}

// lastLines gives what a task wrote last.
func (s *state) lastLines(ctx context.Context, task springtide.Task) (lines []string) {
	log, err := s.engine.Logs(ctx, springtide.LogQuery{Environment: task.Environment, Task: task.ID})
	if err != nil {
		return []string{"its output cannot be read: " + err.Error()}
	}
	defer log.Close()
	for decoder := json.NewDecoder(log); ; {
		var line springtide.LogLine
		if decoder.Decode(&line) != nil {
			return lines[max(0, len(lines)-smokeLines):]
		}
		lines = append(lines, line.Text)
	}
}

// grantSmoke gives a task that looks at what was restored the address of that and
// the release's secrets: no other service, no shared folder and no token.
func (s *state) grantSmoke(ctx context.Context, task string, release springtide.Release) (process.Grant, error) {
	grant := process.Grant{Env: map[string]string{}, Credentials: map[string][]byte{}}
	variables, known := s.smokes.of(task)
	if !known {
		return grant, springtide.Errorf(springtide.NotFound, "the drill of task %s is over", task)
	}
	release.Secrets = maps.Clone(release.Secrets)
	maps.DeleteFunc(release.Secrets, func(name springtide.SecretName, _ int) bool { return leads(release.App.Services, string(name)) })
	if err := s.grantSecrets(ctx, release, &grant); err != nil {
		return grant, err
	}
	for name, value := range variables {
		grant.Env[name] = value
		if password := passwordOf(value); password != nil {
			grant.Credentials[name] = []byte(value)
			grant.Hide = append(grant.Hide, password)
		}
	}
	return grant, nil
}

// leads reports whether a variable, or a secret, says where one of the services is.
func leads(services map[springtide.ServiceName]springtide.Service, name string) bool {
	for of, spec := range services {
		spec.Replica = true // one that there was, or will be
		services := maps.Clone(services)
		services[of] = spec
		if _, tells := service.Leading(services, of, "")[name]; tells || spec.External == "secret:"+name {
			return true
		}
	}
	return slices.Contains([]string{"DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "REDIS_REPLICA_URL"}, name)
}
