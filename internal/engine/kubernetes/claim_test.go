package kubernetes

import (
	"slices"
	"testing"

	"github.com/springtide/springtide"
)

func TestSharedFilesAreAClaimThatGrowsAndIsShownToInstancesAndTasks(t *testing.T) {
	b := newBench(t)
	group := testGroup(1)
	b.engine.options.FilesClass = "nfs"
	files := springtide.Files{Path: "uploads", Quota: 1 << 30}
	claim := ClaimName(group.ID.Environment, "uploads")
	if err := b.engine.Claim(t.Context(), group.ID.Environment, "uploads", files); err != nil {
		t.Fatal(err)
	}
	size := func() any {
		return b.get("persistentvolumeclaims/" + claim)["spec"].(object)["resources"].(object)["requests"].(object)["storage"]
	}
	spec := b.get("persistentvolumeclaims/" + claim)["spec"].(object)
	if size() != "1Gi" || spec["storageClassName"] != "nfs" || !slices.Contains(spec["accessModes"].([]any), any("ReadWriteMany")) {
		t.Errorf("%v", spec)
	}
	for quota, want := range map[int64]any{1 << 20: "1Gi", 1 << 31: "2Gi"} {
		files.Quota = quota
		if err := b.engine.Claim(t.Context(), group.ID.Environment, "uploads", files); err != nil || quota > 1<<30 && size() != want {
			t.Errorf("%d: %v, %v", quota, err, size())
		}
	}
	b.engine.options.Access = func(Subject) (Grant, error) { return Grant{Mounts: []Mount{{claim, "/app/uploads"}}}, nil }
	b.apply(group)
	check := func(what string, spec object) {
		mounts := spec["containers"].([]any)[0].(object)["volumeMounts"].([]any)
		if last := mounts[len(mounts)-1].(object); last["mountPath"] != "/app/uploads" || last["name"] != claim {
			t.Errorf("%s: %v", what, mounts)
		}
	}
	check("an instance", b.get("deployments/" + nameOf(group.ID))["spec"].(object)["template"].(object)["spec"].(object))
	run(t, b.engine)
	task := springtide.Task{ID: "migrate", Environment: group.ID.Environment, Release: 3, Command: "./migrate", Template: group.Template}
	go func() { _, _ = b.engine.Exec(t.Context(), task) }()
	b.eventually("the task's pod", func() bool { return b.get("pods/"+taskName(task.ID)) != nil })
	made := b.get("pods/" + taskName(task.ID))
	check("a task", made["spec"].(object))
	if made["metadata"].(object)["annotations"].(object)[noteMustStay] != "true" {
		t.Errorf("a task may be moved: %v", made["metadata"])
	}
	b.engine.options.Access = func(Subject) (Grant, error) { return Grant{Mounts: []Mount{{claim, "uploads"}}}, nil }
	group.ID.Release++
	if err := b.engine.Apply(t.Context(), group); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("at a relative path: %v", err)
	}
	b.put("persistentvolumeclaims/"+claim, object{"metadata": object{"annotations": nil}})
	if err := b.engine.Claim(t.Context(), testGroup(1).ID.Environment, "uploads", files); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("somebody else's: %v", err)
	}
}
