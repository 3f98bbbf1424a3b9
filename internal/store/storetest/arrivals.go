package storetest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// arrival is an environment that served release 7 elsewhere, and kept release 5.
func arrival(id springtide.EnvironmentID, domains ...string) store.Arrival {
	release := func(number int, state springtide.ReleaseState) springtide.Release {
		return springtide.Release{
			Environment: id, Number: number, Artifact: digest, State: state, Created: secret("", 1, "").Created,
			App: springtide.App{Name: id.App}, Config: map[string]string{"A": "b"}, Secrets: map[springtide.SecretName]int{"KEY": 3},
		}
	}
	return store.Arrival{
		Environment: springtide.Environment{
			ID: id, Active: 7, Config: map[string]string{"A": "b"}, Domains: domains,
			Scale:     map[springtide.ProcessName]springtide.ScaleRange{springtide.Web: {Min: 2, Max: 3}},
			Occasions: []springtide.Occasion{{ID: "1"}},
		},
		Releases:  []springtide.Release{release(5, springtide.ReleaseSuperseded), release(7, springtide.ReleasePending)},
		SecretKey: []byte("key"), Secrets: []store.Secret{secret("KEY", 3, "sealed")}, Deploy: "arriving",
	}
}

var arrivalTests = []test{
	{"What arrives is as it was, and its release is to be rolled out", func(f *fixture) {
		ctx, sent := f.Context(), arrival(production, "quiz.example.com")
		rollouts, err := f.Receive(ctx, []store.Arrival{sent})
		f.check(err)
		f.reopen()
		open, err := f.OpenRollouts(ctx)
		f.check(err)
		if diff := cmp.Diff(rollouts, open); diff != "" || len(open) != 1 || open[0].Release.Number != 7 || open[0].Deploy != "arriving" {
			f.Errorf("rollouts %+v; %s", open, diff)
		}
		environment, err := f.Environment(ctx, production)
		f.check(err)
		want := sent.Environment
		want.Active, want.Created = 0, environment.Created
		if diff := cmp.Diff(want, environment); diff != "" {
			f.Errorf("the environment differs:\n%s", diff)
		}
		releases, err := f.Releases(ctx, production)
		f.check(err)
		if diff := cmp.Diff([]springtide.Release{sent.Releases[1], sent.Releases[0]}, releases); diff != "" {
			f.Errorf("the releases differ:\n%s", diff)
		}
		f.wantSecrets(production, sent.Secrets...)
		keys, err := f.SecretKeys(ctx)
		f.check(err)
		if string(keys[production]) != "key" {
			f.Errorf("the key is %q", keys[production])
		}
		next, err := f.AddRelease(ctx, springtide.Release{Environment: production, Artifact: digest})
		f.check(err)
		if next.Number != 8 {
			f.Errorf("the next release is v%d, want v8", next.Number)
		}
	}},
	{"All that arrives together is taken, or nothing", func(f *fixture) {
		ctx := f.Context()
		f.environment(blog)
		_, err := f.SetDomains(ctx, blog, []string{"taken.example.com"}, nil)
		f.check(err)
		_, err = f.Receive(ctx, []store.Arrival{arrival(production), arrival(staging, "taken.example.com")})
		f.wantKind(err, springtide.Conflict)
		environments, err := f.Environments(ctx)
		f.check(err)
		if len(environments) != 1 {
			f.Errorf("there are %d environments, want that of the blog", len(environments))
		}
	}},
	{"What never served is replaced, what serves or is rolled out is not", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		_, err := f.SetConfig(ctx, production, map[string]string{"B": "c"}, nil)
		f.check(err)
		f.check(f.AddSecrets(ctx, production, []store.Secret{secret("OLD", 1, "old")}))
		rollouts, err := f.Receive(ctx, []store.Arrival{arrival(production)})
		f.check(err)
		f.wantSecrets(production, secret("KEY", 3, "sealed"))
		_, err = f.Receive(ctx, []store.Arrival{arrival(production)})
		f.wantKind(err, springtide.Conflict)
		f.check(f.FailRollout(ctx, rollouts[0]))
		rollouts, err = f.Receive(ctx, []store.Arrival{arrival(production)})
		f.check(err)
		if rollouts[0].Generation != 2 {
			f.Errorf("the generation is %d, want 2: none is given twice", rollouts[0].Generation)
		}
		f.check(f.SwitchRollout(ctx, rollouts[0]))
		f.check(f.FinishRollout(ctx, rollouts[0]))
		_, err = f.Receive(ctx, []store.Arrival{arrival(production)})
		f.wantKind(err, springtide.Conflict)
	}},
}
