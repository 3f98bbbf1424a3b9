package kubernetes_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// edges let go of everything at once.
type edges struct{}

func (edges) LetGo(context.Context, springtide.InstanceID) error        { return nil }
func (edges) CloseStreams(context.Context, springtide.InstanceID) error { return nil }
func (edges) Load(springtide.InstanceID) int                            { return 0 }

func suiteGroup(process springtide.ProcessName, replicas int) springtide.Group {
	return springtide.Group{
		ID: springtide.GroupID{
			Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production}, Release: 1, Process: process, Generation: 1,
		},
		Replicas: replicas,
		Template: springtide.Template{
			Image: suiteImage, Env: map[string]string{"ENGINETEST_APP": "web"},
			Process: springtide.Process{
				Command: "./app", HTTP: true, Grace: time.Second, Drain: time.Second,
				Health: springtide.Health{Path: "/health", Interval: time.Second, Timeout: time.Second, Start: 20 * time.Second, Failures: 2},
			},
		},
	}
}

func TestTheClustersOwnReasonsAreToldAndALostNodesInstancesAreReplaced(t *testing.T) {
	s := newStage(t)
	s.addSuiteApp()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	h := s.engines()(t, edges{})
	var seen springtide.Snapshot
	told := func(what string, condition func(springtide.Snapshot) bool) {
		t.Helper()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for seen = range h.Engine.Watch(ctx) {
			if condition(seen) {
				t.Logf("%s after %s", what, time.Since(began).Round(10*time.Millisecond))
				return
			}
		}
		t.Fatalf("%s did not come about; last seen: %+v", what, seen)
	}
	apply := func(group springtide.Group) {
		t.Helper()
		if err := h.Engine.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	reason := func(id springtide.GroupID, text string) func(springtide.Snapshot) bool {
		return func(s springtide.Snapshot) bool {
			own := s.Of(id)
			return len(own) == 1 && strings.Contains(own[0].Reason, text) && !strings.Contains(own[0].Reason, "\n")
		}
	}

	missing := suiteGroup("missing", 1)
	missing.Template.Image = cluster.Registry + "/nothing:1"
	apply(missing)
	told("the missing image", reason(missing.ID, "the image cannot be pulled: "))

	huge := suiteGroup("huge", 1)
	huge.Template.Process.Limits.Memory = 1 << 50
	apply(huge)
	told("the lack of room", reason(huge.ID, "no node has room: 0/2 nodes are available: 2 Insufficient memory"))
	if !strings.HasPrefix(seen.Capacity, "no node has room: ") {
		t.Errorf("capacity: %q", seen.Capacity)
	}
	hungry := suiteGroup("hungry", 1)
	hungry.Template.Process.Limits.Memory = 16 << 20
	hungry.Template.Process.Command, hungry.Template.Process.HTTP = "exec cat /dev/zero | tail", false
	hungry.Template.Process.Health = springtide.Health{}
	apply(hungry)
	told("the want of memory", reason(hungry.ID, "killed: out of memory (limit 16 MiB)"))
	for _, group := range []springtide.Group{missing, huge, hungry} {
		if err := h.Engine.Remove(t.Context(), group.ID); err != nil {
			t.Fatal(err)
		}
	}

	quota := "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small, namespace: suite-1}\nspec: {hard: {pods: 2}}\n"
	if err := s.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	web := suiteGroup("web", 3)
	apply(web)
	told("the quota", func(s springtide.Snapshot) bool {
		return strings.HasPrefix(s.Capacity, "quota exceeded: small") && ready(s.Of(web.ID)) == 2
	})
	s.kubectl("-n", "suite-1", "delete", "resourcequota", "small")
	web.Replicas = 4
	apply(web)
	told("four instances", func(s springtide.Snapshot) bool { return s.Capacity == "" && ready(s.Of(web.ID)) == 4 })
	if on := nodesOf(seen.Of(web.ID)); on["10.244.1"] != 2 || on["10.244.2"] != 2 {
		t.Errorf("they are not spread over the nodes: %v", on)
	}

	if err := s.PowerOff(2); err != nil {
		t.Fatal(err)
	}
	told("a lost node", func(s springtide.Snapshot) bool { return ready(s.Of(web.ID)) < 4 })
	told("four instances without it", func(s springtide.Snapshot) bool { return ready(s.Of(web.ID)) == 4 })

	if err := s.Kill(cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	web.Replicas = 3
	apply(web) // taken, and done when the API server is back
	other := suiteGroup("other", 1)
	if err := h.Engine.Apply(t.Context(), other); springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("while the API server is away: %v", err)
	}
	if err := s.Restart(cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	told("three instances", func(s springtide.Snapshot) bool { return ready(s.Of(web.ID)) == 3 })
}

func ready(instances []springtide.Instance) (count int) {
	for _, i := range instances {
		if i.State == springtide.InstanceReady {
			count++
		}
	}
	return count
}

// nodesOf counts instances by the network of their node.
func nodesOf(instances []springtide.Instance) map[string]int {
	count := map[string]int{}
	for _, i := range instances {
		count[i.Address[:strings.LastIndex(i.Address, ".")]]++
	}
	return count
}
