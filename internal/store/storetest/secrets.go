package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// secret gives a version that was made that many hours after the first.
func secret(name springtide.SecretName, version int, sealed string) store.Secret {
	s := store.Secret{Name: name, Version: version, Created: time.Date(2026, 1, 2, version, 4, 5, 6, time.UTC)}
	if sealed != "" {
		s.Sealed = []byte(sealed)
	}
	return s
}

func (f *fixture) wantSecrets(id springtide.EnvironmentID, want ...store.Secret) {
	f.Helper()
	got, err := f.Secrets(f.Context(), id)
	f.check(err)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("wanted and stored secrets differ:\n%s", diff)
	}
}

var secretTests = []test{
	{"Versions of secrets come back in order, of one environment", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.check(f.AddSecrets(ctx, production, []store.Secret{secret("B", 1, "b1"), secret("A", 1, "\x00a1")}))
		f.check(f.AddSecrets(ctx, production, []store.Secret{secret("A", 2, ""), secret("A", 3, "a3")}))
		f.check(f.AddSecrets(ctx, blog, []store.Secret{secret("A", 1, "other")}))
		f.reopen()
		f.wantSecrets(production, secret("A", 1, "\x00a1"), secret("A", 2, ""), secret("A", 3, "a3"), secret("B", 1, "b1"))
		f.wantSecrets(blog, secret("A", 1, "other"))
		f.wantSecrets(nowhere)
	}},
	{"Only the next version of each is taken, all or none", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.check(f.AddSecrets(ctx, production, []store.Secret{secret("A", 1, "a1")}))
		for _, version := range []int{0, 1, 3} {
			f.wantKind(f.AddSecrets(ctx, production, []store.Secret{secret("B", 1, "b1"), secret("A", version, "x")}), springtide.Conflict)
		}
		f.wantSecrets(production, secret("A", 1, "a1"))
	}},
	{"What no release has and was followed is forgotten, but for the last", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.check(f.AddSecrets(ctx, production, []store.Secret{
			secret("A", 1, "a1"), secret("A", 2, "a2"), secret("A", 3, "a3"), secret("A", 4, "a4"),
			secret("B", 1, "b1"), secret("B", 2, ""), secret("C", 1, "c1"),
		}))
		release, err := f.AddRelease(ctx, springtide.Release{
			Environment: production, Artifact: digest, Secrets: map[springtide.SecretName]int{"A": 2, "B": 1},
		})
		f.check(err)
		// Version 3 of A was followed at the time itself.
		forgotten, err := f.ForgetSecrets(ctx, production, secret("", 4, "").Created)
		f.check(err)
		if forgotten != 1 {
			f.Errorf("%d were forgotten, want 1", forgotten)
		}
		f.wantSecrets(production, secret("A", 2, "a2"), secret("A", 3, "a3"), secret("A", 4, "a4"),
			secret("B", 1, "b1"), secret("B", 2, ""), secret("C", 1, "c1"))
		f.check(f.DeleteRelease(ctx, release.ID()))
		forgotten, err = f.ForgetSecrets(ctx, production, secret("", 5, "").Created)
		f.check(err)
		if forgotten != 3 {
			f.Errorf("%d were forgotten, want 3", forgotten)
		}
		f.wantSecrets(production, secret("A", 4, "a4"), secret("B", 2, ""), secret("C", 1, "c1"))
		f.wantKind(f.AddSecrets(ctx, production, []store.Secret{secret("B", 1, "again")}), springtide.Conflict)
	}},
	{"A key is recorded once, replaced with others, and goes with its environment and the secrets", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		platform := springtide.EnvironmentID{}
		for _, id := range []springtide.EnvironmentID{production, platform} {
			for _, key := range []string{"first", "second"} {
				kept, err := f.AddSecretKey(ctx, id, []byte(key))
				f.check(err)
				if string(kept) != "first" {
					f.Errorf("%s has the key %q", id, kept)
				}
			}
		}
		f.check(f.AddSecrets(ctx, production, []store.Secret{secret("A", 1, "a1")}))
		f.check(f.ReplaceSecretKeys(ctx, map[springtide.EnvironmentID][]byte{production: []byte("new"), platform: []byte("own"), nowhere: []byte("x")}))
		f.reopen()
		f.wantKeys(map[springtide.EnvironmentID][]byte{production: []byte("new"), platform: []byte("own")})
		f.check(f.DestroyEnvironment(ctx, production))
		f.wantKeys(map[springtide.EnvironmentID][]byte{platform: []byte("own")})
		f.environment(production)
		f.wantSecrets(production)
	}},
}

func (f *fixture) wantKeys(want map[springtide.EnvironmentID][]byte) {
	f.Helper()
	got, err := f.SecretKeys(f.Context())
	f.check(err)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("wanted and stored keys differ:\n%s", diff)
	}
}
