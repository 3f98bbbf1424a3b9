package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
)

// What the engine writes on objects: by labels they are selected, by annotations
// they tell what they are.
const (
	labelManager = "app.kubernetes.io/managed-by"
	manager      = "springtide"
	labelRole    = "springtide.dev/role" // what network policies select by
	roleInstance = "instance"
	roleTask     = "task"
	roleSpare    = "spare"
	labelGroup   = "springtide.dev/group" // the name of the Deployment

	noteGroup    = "springtide.dev/group"    // the group's ID
	noteTemplate = "springtide.dev/template" // what observing needs of the template, as JSON
	noteRetiring = "springtide.dev/retiring" // since when the instance is to go
	noteCost     = "controller.kubernetes.io/pod-deletion-cost"

	noteTask    = "springtide.dev/task"    // the task, as JSON
	noteStarted = "springtide.dev/started" // which pod may have begun
	noteEnded   = "springtide.dev/ended"   // how it ended, as JSON
	noteFiles   = "springtide.dev/files"   // it has credentials
	gate        = "springtide.dev/recorded"

	noteSpare  = "springtide.dev/spare"  // how much room is kept, as JSON
	noteMounts = "springtide.dev/mounts" // a task's claims, as JSON
	noteOf     = "springtide.dev/of"     // the service, or the files, that something keeps

	// noteMayGo has Cluster Autoscaler take a node away although the pod has folders of
	// its own there, or not as long as it runs; noteMustStay is Karpenter's word.
	noteMayGo    = "cluster-autoscaler.kubernetes.io/safe-to-evict"
	noteMustStay = "karpenter.sh/do-not-disrupt"

	// container is the name of the app's in a pod.
	container = "app"
)

// nameOf gives the name of a group's Deployment. A pod's name has at most 63
// characters, of which the cluster adds 17.
func nameOf(id springtide.GroupID) string {
	return fmt.Sprintf("%s-%d-%d-%s", dnsLabel(string(id.Process), 16), id.Release, id.Generation, short(id.String()))
}

// taskName gives the name of a task's pod and Secret.
func taskName(id string) string { return "task-" + dnsLabel(id, 40) + "-" + short(id) }

// short tells names apart that look the same as DNS labels.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// dnsLabel makes the beginning of a DNS label of a name.
func dnsLabel(name string, limit int) string {
	label := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(label[:min(len(label), limit)], "-")
}

func labels(environment springtide.EnvironmentID, release int, role string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":     string(environment.App),
		"app.kubernetes.io/instance": string(environment.Name),
		"app.kubernetes.io/version":  strconv.Itoa(release),
		labelManager:                 manager,
		labelRole:                    role,
	}
}

func groupLabels(id springtide.GroupID) map[string]string {
	all := labels(id.Environment, id.Release, roleInstance)
	all["app.kubernetes.io/component"] = string(id.Process)
	all[labelGroup] = nameOf(id)
	return all
}

// isName reports whether a word can be the value of a label.
func isName(word string) bool {
	const edge = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return word != "" && len(word) <= 63 && strings.Trim(word, edge+"-_.") == "" &&
		strings.Contains(edge, word[:1]) && strings.Contains(edge, word[len(word)-1:])
}
