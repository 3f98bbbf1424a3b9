package kubernetes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// stateful writes the manifest of an app that does not start without its database and
// its shared folder.
func (p *platform) stateful(folder, services string) {
	p.Helper()
	text := fmt.Sprintf(`app: page
build: { base: "%s/base:1" }
processes:
  web:
    command: echo "${DATABASE_URL:-none}" >> uploads/seen && exec ./web
    health: { path: /, start: 20s }
    drain: 5s
    scale: { min: 2, max: 2, priority: high }
files: { uploads: uploads }
%s`, cluster.Registry, services)
	if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

func TestAPlatformOnAClusterKeepsStateThereAndMovesBeforeServersGo(t *testing.T) {
	s := newStage(t)
	s.addBase()
	s.sharedFolder(t)
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	p := s.newPlatform(t)
	p.arguments = append(p.arguments, "--spare-cpu", "0.2", "--files-class", "shared")
	if said := p.refused(p.arguments...); !strings.Contains(said, "spare room needs the PriorityClass springtide-spare") {
		t.Errorf("without its class: %s", said)
	}
	if err := s.Create(t.Context(), clusterObjects(t, platformNamespace)); err != nil {
		t.Fatal(err)
	}
	p.serve()
	defer p.stop()
	if err := s.Trust(registryHost, []byte(p.cli("trust", "--print"))); err != nil {
		t.Fatal(err)
	}
	folder := p.source()
	p.stateful(folder, "services: { db: { postgres: 17 } }\n")
	if said := p.refused("deploy", folder); !strings.Contains(said, "has no CloudNativePG") {
		t.Errorf("without the operator: %s", said)
	}
	s.startOperator(t, platformNamespace)
	p.cli("deploy", folder)
	if seen := p.cli("run", "--app", "page", "--", "cat uploads/seen"); strings.Count(seen, "-rw."+platformNamespace+":5432/app") != 2 {
		t.Errorf("two instances have seen %q", seen)
	}
	p.lists("services", `db +postgres 17 +ready +\S+-rw\.`+platformNamespace+`:5432 +\S+ +the cluster's db-page-\w+`)
	p.lists("files", `uploads +uploads +- +- +20\S* ?GiB +claim files-page-production-uploads-\w+`)
	class := s.kubectl("-n", platformNamespace, "get", "pods", "-l", "springtide.dev/role=instance", "-o", "jsonpath={.items[0].spec.priorityClassName}")
	if class != "springtide-high" {
		t.Errorf("its priority is %q", class)
	}
	spare := func() string {
		return s.kubectl("-n", platformNamespace, "get", "pods", "-l", "springtide.dev/role=spare", "-o", "jsonpath={.items[*].spec.nodeName}")
	}
	p.until("spare room", func() bool { return spare() != "" })

	p.under("draining a server", func() {
		s.kubectl("drain", "node2", "--delete-emptydir-data", "--force", "--timeout=120s")
	})
	s.kubectl("uncordon", "node2")

	p.stateful(folder, "")
	p.cli("deploy", folder)
	p.until("the database to hibernate", func() bool {
		return s.kubectl("-n", platformNamespace, "get", "clusters.postgresql.cnpg.io", "-o", `jsonpath={.items[0].metadata.annotations.cnpg\.io/hibernation}`) == "on"
	})
	p.lists("services", `db +postgres 17 +stopped .*no release names it; its data is in the cluster's db-page-\w+`)
}

// lists looks for a row among those that a listing of the app has.
func (p *platform) lists(what, row string) {
	p.Helper()
	if rows := p.cli(what, "--app", "page"); !regexp.MustCompile(`(?m)^` + row + ` *$`).MatchString(rows) {
		p.Errorf("tide %s has no row %s:\n%s", what, row, rows)
	}
}
