package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

// begun is as much of a cluster as a test could have made before it was killed.
func begun(t *testing.T, folder string) *Cluster {
	t.Helper()
	c := &Cluster{options: Options{Folder: folder}}
	if err := c.takeTurn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.clearLeft(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatAKilledTestHasLeftIsRemovedBeforeTheNextCluster(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "killed")
	killed := begun(t, folder)
	log := filepath.Join(folder, "log")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{killed.network.makeFabric, func() error { return killed.network.addNode(1) }, func() error { return makeGroups(1) }} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := groupFolders(1)
	if err != nil {
		t.Fatal(err)
	}
	process, err := begin(log, nodeNamespace(1), []string{"sleep", "1000"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	killed.turn.Close() // as the kernel does

	next := begun(t, filepath.Join(t.TempDir(), "next"))
	defer next.turn.Close()
	<-process.ended
	left := append(groups, folder, "/run/netns/"+fabric, "/run/netns/"+nodeNamespace(1), "/sys/class/net/"+machineLink)
	for _, path := range left {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if err := next.turn.Truncate(0); err != nil {
		t.Fatal(err)
	}
}
