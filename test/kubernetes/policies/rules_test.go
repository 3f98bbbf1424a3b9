package main

import (
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func pod(namespace, name, node, address string, own map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "0", Labels: own},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
			{Name: "http", ContainerPort: 8080}, {Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
		}}}},
		Status: corev1.PodStatus{PodIP: address},
	}
}

func TestRulesSayWhatThePoliciesDo(t *testing.T) {
	web := map[string]string{"role": "web"}
	over := pod("shop", "over", "one", "10.0.1.9", web)
	over.Status.Phase = corev1.PodSucceeded
	pods := []*corev1.Pod{
		pod("shop", "here", "one", "10.0.1.1", web), pod("shop", "there", "two", "10.0.2.1", web), over,
		pod("shop", "other", "one", "10.0.1.2", map[string]string{"role": "other"}),
		pod("watch", "it", "two", "10.0.2.2", nil), pod("watch", "web", "two", "10.0.2.3", web),
	}
	namespaces := []*corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, {ObjectMeta: metav1.ObjectMeta{Name: "watch", Labels: map[string]string{"watches": "yes"}}},
	}
	held := func(allowed string) string {
		return "table ip policies\ndelete table ip policies\ntable ip policies {\n  chain to-0 {\n" + allowed +
			"    drop\n  }\n  chain forward {\n    type filter hook forward priority filter\n    ct state established,related accept\n" +
			"    ip daddr 10.0.1.1 jump to-0\n  }\n}\n"
	}
	for ingress, allowed := range map[string]string{
		"[]":                            "",
		"[{}]":                          "    accept\n",
		"[{from: [{podSelector: {}}]}]": "    ip saddr { 10.0.1.1, 10.0.1.2, 10.0.2.1 } accept\n",
		"[{from: [{podSelector: {matchLabels: {role: none}}}]}]":                                                                           "",
		"[{from: [{podSelector: {matchExpressions: [{key: role, operator: NotIn, values: [web]}]}, namespaceSelector: {}}]}]":              "    ip saddr { 10.0.1.2, 10.0.2.2 } accept\n",
		"[{from: [{namespaceSelector: {matchLabels: {watches: 'yes'}}}], ports: [{port: http}, {port: dns}, {port: dns, protocol: UDP}]}]": "    ip saddr { 10.0.2.2, 10.0.2.3 } tcp dport 8080 accept\n    ip saddr { 10.0.2.2, 10.0.2.3 } udp dport 53 accept\n",
		"[{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 192.168.0.0/16]}}], ports: [{port: 80}]}]":                              "    ip saddr 0.0.0.0/0 ip saddr != { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 80 accept\n",
		"[{ports: [{port: 80, endPort: 89}, {protocol: UDP}]}]":                                                                            "    tcp dport { 80-89 } accept\n    meta l4proto udp accept\n",
	} {
		policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		text := "{podSelector: {matchLabels: {role: web}}, policyTypes: [Ingress], ingress: " + ingress + "}"
		if err := yaml.UnmarshalStrict([]byte(text), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		have, err := rules("one", pods, namespaces, []*networkingv1.NetworkPolicy{policy})
		if want := held(allowed); err != nil || have != want {
			t.Errorf("%s: %v\n%s\nis not\n%s", ingress, err, have, want)
		}
		command := exec.Command("unshare", "--net", "nft", "-f", "-")
		command.Stdin = strings.NewReader(have)
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", ingress, err, output)
		}
	}
}
