package kubernetes

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

var update = flag.Bool("update", false, "write the golden files")

func testGroup(replicas int) springtide.Group {
	return springtide.Group{
		ID: springtide.GroupID{
			Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production},
			Release:     3, Process: springtide.Web, Generation: 1,
		},
		Replicas: replicas,
		Template: springtide.Template{
			Image: "registry.example.com/quiz:production-v3@sha256:5f0c",
			Env:   map[string]string{"GREETING": "hello world"},
			Process: springtide.Process{
				Command: "exec ./web --listen $PORT --costs '$(pwd)' $$", HTTP: true,
				Health: springtide.Health{Path: "/healthz", Interval: 200 * time.Millisecond, Timeout: time.Second, Start: 20 * time.Second, Failures: 3},
				Drain:  30 * time.Second, Grace: 300 * time.Millisecond,
				Limits: springtide.Limits{CPU: 1.5, Memory: 256 << 20},
			},
		},
	}
}

func TestWhatTheClusterIsAskedForIsAsInTheGoldenFile(t *testing.T) {
	options := Options{PriorityClass: "apps", PullSecrets: []string{"registry"}}.withDefaults()
	group, grant := testGroup(2), Grant{Env: map[string]string{"TIDE_API": "http://tide"}, Credentials: map[string][]byte{"KEY": []byte("secret")}}
	owner := metav1.OwnerReference{Name: nameOf(group.ID), UID: "uid"}
	task := springtide.Task{ID: "migrate.3", Environment: group.ID.Environment, Release: 3, Command: "./migrate", Template: group.Template, Timeout: 1500 * time.Millisecond}
	secrets := secretsOf(metav1.ObjectMeta{Name: "s"}, group.Template, nil, grant)
	for name, made := range map[string]any{
		"deployment": options.deployment(group, true),
		"budget":     budget(group, owner),
		"secret":     secrets,
		"task":       options.taskPod(task, secrets[0]),
	} {
		got, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + name + ".json"
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got) {
			t.Errorf("%s has changed: see the difference after go test -run GoldenFile -update\n%s", path, got)
		}
	}
}

func TestNamesFitAndTellGroupsApart(t *testing.T) {
	long := testGroup(1).ID
	long.Environment.App, long.Process = springtide.AppName(strings.Repeat("a", 40)), "Worker_of-a-very.long-name"
	long.Release, long.Generation = 123456, 1234
	if name := nameOf(long); len(name)+len("-0123456789-01234") > 63 || name != "worker-of-a-very-123456-1234-"+short(long.String()) {
		t.Errorf("%q", name)
	}
	one, other := testGroup(1).ID, testGroup(1).ID
	one.Environment = springtide.EnvironmentID{App: "a", Name: "b-c"}
	other.Environment = springtide.EnvironmentID{App: "a-b", Name: "c"}
	if nameOf(one) == nameOf(other) || taskName("a.b") == taskName("a-b") {
		t.Error("two have the same name")
	}
}
