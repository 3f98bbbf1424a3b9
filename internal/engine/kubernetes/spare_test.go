package kubernetes

import (
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestSpareRoomIsHeldByPodsThatGiveWay(t *testing.T) {
	b := newBench(t)
	b.engine.options.Spare = Spare{CPU: 2, Memory: 1 << 30}
	if err := b.engine.checkSpare(t.Context()); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), classSpare) {
		t.Errorf("without its class: %v", err)
	}
	b.put("priorityclasses/"+classSpare, object{"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1"})
	if err := b.engine.checkSpare(t.Context()); err != nil {
		t.Errorf("with its class: %v", err)
	}
	run(t, b.engine)
	<-b.engine.synced
	keep := func() {
		t.Helper()
		if err := b.engine.keepSpare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if keep(); b.get("deployments/"+spareName) != nil {
		t.Error("room is kept before there is an app")
	}
	b.apply(testGroup(1))
	keep()
	made := b.get("deployments/" + spareName)["spec"].(object)
	pod := made["template"].(object)["spec"].(object)
	asked := pod["containers"].([]any)[0].(object)["resources"].(object)["requests"]
	if made["replicas"] != 4.0 || pod["priorityClassName"] != classSpare || asked.(object)["cpu"] != "500m" || asked.(object)["memory"] != "256Mi" {
		t.Errorf("%v", made)
	}
	seen := func() bool { return b.engine.deploymentNamed(spareName) != nil }
	b.eventually("it to be seen", seen)
	before := len(b.log())
	if keep(); len(b.log()) != before {
		t.Errorf("it is made again: %q", b.log())
	}
	// Its pods that find no room are what has the cluster add a server: no app lacks anything.
	b.put("pods/spare-1", object{
		"metadata": object{"labels": object{labelManager: manager, labelRole: roleSpare}},
		"status":   object{"phase": "Pending", "conditions": []any{object{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no"}}},
	})
	b.eventually("the pod to be seen", func() bool { return b.engine.pod("spare-1") != nil })
	if snapshot, _ := b.engine.snapshot(); snapshot.Capacity != "" {
		t.Errorf("capacity: %q", snapshot.Capacity)
	}
	b.engine.options.Spare = Spare{}
	keep()
	b.eventually("it to be gone", func() bool { return b.get("deployments/"+spareName) == nil && !seen() })
}

func TestSpareRoomIsCutIntoPieces(t *testing.T) {
	for _, test := range []struct {
		spare       Spare
		count       int
		cpu, memory string
	}{
		{Spare{}, 0, "0", "0"},
		{Spare{CPU: 4}, 8, "500m", "0"},
		{Spare{Memory: 3 << 30}, 6, "0", "512Mi"},
		{Spare{CPU: 4, Memory: 8 << 30, Pods: 2}, 2, "2", "4Gi"},
		{Spare{CPU: 1000}, mostSpare, "10", "0"},
	} {
		count, asked := test.spare.pods()
		if count != test.count || asked.Cpu().String() != test.cpu || asked.Memory().String() != test.memory {
			t.Errorf("%+v: %d of %s, %s", test.spare, count, asked.Cpu(), asked.Memory())
		}
	}
	if err := (Spare{CPU: -1}).validate(); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("%v", err)
	}
}

func TestAProcessHasTheClustersPriorityWhereThereIsOne(t *testing.T) {
	b := newBench(t)
	b.put("priorityclasses/"+classHigh, object{"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1"})
	for weight, want := range map[int]any{0: nil, 1: nil, 10: nil, 99: nil, 100: classHigh} { // there is no class for low ones
		group := testGroup(1)
		group.ID.Release, group.Template.Process.Scale.Priority = 100+weight, weight
		b.apply(group)
		spec := b.get("deployments/" + nameOf(group.ID))["spec"].(object)["template"].(object)["spec"].(object)
		if spec["priorityClassName"] != want {
			t.Errorf("%d: %v, want %v", weight, spec["priorityClassName"], want)
		}
	}
}
