package kubernetes_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// outsider is a pod on a node that is none of the platform's, whatever its label says.
const outsider = `---
{apiVersion: v1, kind: Pod, metadata: {name: outsider-%[1]d, namespace: default, labels: {springtide.dev/role: edge}},
  spec: {nodeName: node%[1]d, terminationGracePeriodSeconds: 0, containers: [{name: sleep, image: ` + cluster.Registry + `/base:1, command: [/bin/sleep, "3600"]}]}}
`

// dial tells how connecting from a pod went to each of the addresses that are given.
const dial = `for to; do
  { said=$(/bin/busybox nc -w 3 ${to%:*} ${to#*:} 2>&1 </dev/null) && echo $0 to $to: connects || echo $0 to $to: ${said##*: }; } &
done
wait`

// theirs gives of pods by their role, name and address what each of them is to dial, and
// what is to be said of it. A pod always reaches itself.
func theirs(pods map[string]map[string]string) (dials map[string][]string, want []string) {
	ports := map[string]map[string]string{ // of a role, and whose they are
		"instance": {"8080": "edge"},
		"task":     {"8080": "edge"},
		"control": {
			"7443": "edge control instance task outsider", // the API
			"7444": "edge control",                        // edges
			"7445": "control instance task",               // instances
			"7446": "control instance task",               // their mails
			"9090": "edge control outsider",               // metrics
		},
	}
	dials = map[string][]string{}
	add := func(from, name, own, to string) {
		for _, address := range pods[to] {
			for port, whose := range ports[to] {
				if address == own {
					continue
				}
				outcome := "timed out"
				if slices.Contains(strings.Fields(whose), from) {
					outcome = "connects"
				}
				dials[name] = append(dials[name], address+":"+port)
				want = append(want, fmt.Sprintf("%s to %s:%s: %s\n", name, address, port, outcome))
			}
		}
	}
	for from, names := range pods {
		for name, own := range names {
			for to := range ports {
				add(from, name, own, to)
			}
		}
	}
	slices.Sort(want)
	return dials, want
}

// isolates looks from pods of every kind whether the manifest's policies let them reach
// what is theirs of the others, on their own node and on the other one, and nothing else.
func (i *installation) isolates() {
	i.Helper()
	if err := i.Create(i.T.Context(), fmt.Sprintf(outsider, 1)+fmt.Sprintf(outsider, 2)); err != nil {
		i.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() {
		said, err := i.cli("run", "--app", "page", "--", "/bin/busybox nc -ll -p 8080 -e /bin/cat & until [ -e /tmp/over ]; do sleep 0.2; done")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, said)
		}
		ran <- err
	}()
	i.until("a one-off command", func() bool { return len(i.ready("task")) == 1 })

	pods := map[string]map[string]string{"outsider": {"outsider-1": "", "outsider-2": ""}}
	for _, role := range []string{"edge", "control", "instance", "task"} {
		pods[role] = i.ready(role)
	}
	dials, want := theirs(pods)
	before := ""
	i.until(fmt.Sprintf("%d connections as the policies say", len(want)), func() bool {
		have := i.dialAll(dials)
		wrong := strings.Join(slices.DeleteFunc(slices.Clone(have), func(line string) bool { return slices.Contains(want, line) }), "")
		if wrong != before {
			i.T.Logf("not as the policies say:\n%s", wrong)
		}
		before = wrong
		return slices.Equal(have, want)
	})

	for name := range pods["task"] {
		i.inNamespace("exec", name, "--", "/bin/sh", "-c", ": >/tmp/over")
	}
	if err := <-ran; err != nil {
		i.Errorf("the one-off command: %v", err)
	}
	i.kubectl("delete", "pods", "outsider-1", "outsider-2")
}

// dialAll has all pods dial at once, and gives what is said of it.
func (i *installation) dialAll(dials map[string][]string) []string {
	said := make(chan string)
	for name, addresses := range dials {
		namespace := ownNamespace
		if strings.HasPrefix(name, "outsider") {
			namespace = "default"
		}
		command := append([]string{"-n", namespace, "exec", name, "--", "/bin/sh", "-c", dial, name}, addresses...)
		go func() {
			text, _ := i.Kubectl(i.T.Context(), command...) // what failed says nothing
			said <- text
		}()
	}
	all := ""
	for range dials {
		all += <-said
	}
	return slices.Sorted(strings.Lines(all))
}
