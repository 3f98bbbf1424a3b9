package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// rules gives what nftables are to do on a node, as a whole that replaces what was in
// force. What a node sends to its own pods, as to probe them, they do not see.
func rules(node string, pods []*corev1.Pod, namespaces []*corev1.Namespace, policies []*networkingv1.NetworkPolicy) (string, error) {
	labelled := map[string]labels.Set{}
	for _, namespace := range namespaces {
		labelled[namespace.Name] = namespace.Labels
	}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool {
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return over || p.Spec.HostNetwork || p.Status.PodIP == ""
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Status.PodIP, b.Status.PodIP) })
	policies = slices.SortedFunc(slices.Values(policies), func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})

	var chains, jumps strings.Builder
	for _, pod := range pods {
		if pod.Spec.NodeName != node {
			continue
		}
		held, allowed := false, ""
		for _, policy := range policies {
			if slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
				return "", fmt.Errorf("%s/%s is a policy of what goes out", policy.Namespace, policy.Name)
			}
			selected, err := matches(&policy.Spec.PodSelector, pod.Labels)
			if err != nil {
				return "", err
			}
			if !selected || pod.Namespace != policy.Namespace {
				continue
			}
			held = true
			for _, rule := range policy.Spec.Ingress {
				from, err := sources(policy.Namespace, rule.From, pods, labelled)
				if err != nil {
					return "", err
				}
				for _, source := range from {
					for _, port := range ports(pod, rule.Ports) {
						allowed += "    " + source + port + "accept\n"
					}
				}
			}
		}
		if held {
			fmt.Fprintf(&chains, "  chain to-%s {\n%s    drop\n  }\n", pod.UID, allowed)
			fmt.Fprintf(&jumps, "    ip daddr %s jump to-%s\n", pod.Status.PodIP, pod.UID)
		}
	}
	return fmt.Sprintf(`table ip policies
delete table ip policies
table ip policies {
%s  chain forward {
    type filter hook forward priority filter
    ct state established,related accept
%s  }
}
`, chains.String(), jumps.String()), nil
}

func matches(selector *metav1.LabelSelector, of labels.Set) (bool, error) {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(of), err
}

// sources are matches of which a packet's source has to fulfil one; of no peers at all
// it is one that everything fulfils.
func sources(namespace string, peers []networkingv1.NetworkPolicyPeer, pods []*corev1.Pod, labelled map[string]labels.Set) (from []string, err error) {
	if len(peers) == 0 {
		return []string{""}, nil
	}
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			match := "ip saddr " + block.CIDR + " "
			if len(block.Except) > 0 {
				match += "ip saddr != { " + strings.Join(block.Except, ", ") + " } "
			}
			from = append(from, match)
			continue
		}
		var addresses []string
		for _, pod := range pods {
			selected := pod.Namespace == namespace
			if peer.NamespaceSelector != nil {
				if selected, err = matches(peer.NamespaceSelector, labelled[pod.Namespace]); err != nil {
					return nil, err
				}
			}
			if selected && peer.PodSelector != nil {
				if selected, err = matches(peer.PodSelector, pod.Labels); err != nil {
					return nil, err
				}
			}
			if selected {
				addresses = append(addresses, pod.Status.PodIP)
			}
		}
		if len(addresses) > 0 {
			from = append(from, "ip saddr { "+strings.Join(addresses, ", ")+" } ")
		}
	}
	return from, nil
}

// ports are matches of which a packet's destination has to fulfil one; see sources.
func ports(pod *corev1.Pod, wanted []networkingv1.NetworkPolicyPort) (to []string) {
	if len(wanted) == 0 {
		return []string{""}
	}
	for _, port := range wanted {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		name := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			to = append(to, "meta l4proto "+name+" ")
		case port.Port.Type == intstr.Int:
			match := fmt.Sprintf("%s dport %d ", name, port.Port.IntVal)
			if port.EndPort != nil {
				match = fmt.Sprintf("%s dport { %d-%d } ", name, port.Port.IntVal, *port.EndPort)
			}
			to = append(to, match)
		default:
			for _, container := range pod.Spec.Containers {
				for _, own := range container.Ports {
					if own.Name == port.Port.StrVal && cmp.Or(own.Protocol, corev1.ProtocolTCP) == protocol {
						to = append(to, fmt.Sprintf("%s dport %d ", name, own.ContainerPort))
					}
				}
			}
		}
	}
	return to
}
