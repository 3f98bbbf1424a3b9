package deploy

import (
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestAReleaseWhoseServicesDoNotComeUpChangesNothing(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.platform.unservice = springtide.Errorf(springtide.Failed, "db does not start: its disk is full")
	work := r.deploy("two")
	if work.Err == nil || !strings.Contains(work.Err.Error(), "its disk is full") {
		t.Fatalf("the deploy ended with %v", work.Err)
	}
	if !r.engine.has(web(1, 1)) || r.engine.has(web(2, 2)) {
		t.Fatal("the engine runs something else than the first release")
	}
}

func TestAnAppThatCannotHaveWhatItAsksForIsNotBuilt(t *testing.T) {
	r := newRig(t)
	work := r.deploy("without")
	if work.Err == nil || !strings.Contains(work.Err.Error(), "the secret KEY is not set") || work.Build != 0 {
		t.Fatalf("the deploy ended with %v, after a build of %s", work.Err, work.Build)
	}
}

func TestAReleaseKeepsTheSecretsThatItWasMadeWith(t *testing.T) {
	r := newRig(t)
	set := func(version int) {
		r.platform.mu.Lock()
		defer r.platform.mu.Unlock()
		r.platform.secrets = map[springtide.SecretName]int{"KEY": version}
	}
	version := func() int {
		_, release, err := r.fleet.Environment(quiz)
		if err != nil {
			t.Fatal(err)
		}
		return release.Secrets["KEY"]
	}
	set(1)
	r.deploy("one")
	if got := version(); got != 1 {
		t.Fatalf("the release has version %d", got)
	}
	set(2)
	r.deployer.Reconfigure(quiz, "secrets: set KEY")
	eventually(t, "a release with the new secret", func() bool { return version() == 2 })
	r.deployer.Reconfigure(quiz, "the same again")
	id, err := r.deployer.Rollback(t.Context(), quiz, 0)
	if err != nil {
		t.Fatal(err)
	}
	if work := r.wait(id); work.Err != nil || work.Release != 1 {
		t.Fatalf("rollback: %+v", work)
	}
	if got := version(); got != 1 {
		t.Fatalf("after the rollback the release has version %d", got)
	}
}
