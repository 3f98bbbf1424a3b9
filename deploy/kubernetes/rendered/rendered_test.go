// Package rendered_test holds the plain manifests to the chart that they are made of.
package rendered_test

import (
	"bytes"
	"flag"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

// plain are the manifests, and the values that they are made with.
var plain = map[string]string{
	"../springtide.yaml":           "",
	"../springtide-daemonset.yaml": "edge: {kind: DaemonSet}",
}

// render gives what `helm template springtide --namespace springtide` does.
func render(t *testing.T, values string) string {
	t.Helper()
	chart, err := loader.LoadDir("../../helm/springtide")
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "springtide", Namespace: "springtide", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, release, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		if content := strings.TrimSpace(files[name]); content != "" {
			text.WriteString("---\n# " + path.Base(name) + "\n" + content + "\n")
		}
	}
	return text.String()
}

var update = flag.Bool("update", false, "write the plain manifests anew")

func TestThePlainManifestsAreTheChart(t *testing.T) {
	for file, values := range plain {
		made := "its values"
		if values != "" {
			made += " and " + values
		}
		want := "# Made of deploy/helm/springtide, with " + made + ": change that, and see rendered/.\n" + render(t, values)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(have, []byte(want)) {
			t.Errorf("%s is another one (%v): go test -C deploy/kubernetes/rendered -update", file, err)
		}
	}
}

func TestEveryValueMakesObjects(t *testing.T) {
	for values, want := range map[string]string{
		"edge: {kind: DaemonSet, http3: true}":                             "hostPort: 443",
		"rbac: {cluster: true}":                                            "ClusterRoleBinding",
		"control: {artifactsClaim: shared, host: 'tide.example.com:7443'}": "claimName: shared",
		"control: {args: [--acme-email=me@example.com]}":                   `- "--acme-email=me@example.com"`,
		"edge: {service: {type: ClusterIP}}":                               "type: ClusterIP",
		"imagePullSecrets: [{name: pull}]":                                 `imagePullSecrets: [{"name":"pull"}]`,
		"networkPolicy: false":                                             "kind: Role",
	} {
		text := render(t, values)
		if !strings.Contains(text, want) {
			t.Errorf("%s: there is no %s", values, want)
		}
		for _, object := range strings.Split(text, "\n---\n") {
			var parsed struct {
				Kind     string
				Metadata struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(object), &parsed); err != nil || parsed.Kind == "" || parsed.Metadata.Name == "" {
				t.Errorf("%s: %v in\n%s", values, err, object)
			}
		}
	}
	if strings.Contains(render(t, "networkPolicy: false"), "NetworkPolicy") {
		t.Error("there are policies that nobody wants")
	}
}
