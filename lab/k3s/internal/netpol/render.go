// Package netpol turns NetworkPolicies into one nftables table.
package netpol

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Cluster is what the policies of one moment are about.
type Cluster struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*netv1.NetworkPolicy
}

// Render returns the table as a script for nft -f, which replaces the one before in a single transaction. Each isolated pod has a chain per
// direction, reached through a map of addresses: traffic that a rule matches returns, the rest is rejected, as kube-router does.
func Render(c Cluster) string {
	c.Pods = slices.DeleteFunc(slices.Clone(c.Pods), func(pod *corev1.Pod) bool { return !live(pod) })
	slices.SortFunc(c.Pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Status.PodIP, b.Status.PodIP) })
	c.Policies = slices.Clone(c.Policies)
	slices.SortFunc(c.Policies, func(a, b *netv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})

	var chains strings.Builder
	jumps := map[netv1.PolicyType][]string{}
	for _, pod := range c.Pods {
		for _, direction := range []netv1.PolicyType{netv1.PolicyTypeIngress, netv1.PolicyTypeEgress} {
			matches, isolated := c.allowed(pod, direction)
			if !isolated {
				continue
			}
			name := strings.ToLower(string(direction)) + "_" + strings.ReplaceAll(pod.Status.PodIP, ".", "_")
			fmt.Fprintf(&chains, "  chain %s {\n    # %s/%s\n", name, pod.Namespace, pod.Name)
			for _, match := range matches {
				fmt.Fprintf(&chains, "    %s\n", strings.TrimSpace(match+" return"))
			}
			chains.WriteString("    reject\n  }\n")
			jumps[direction] = append(jumps[direction], fmt.Sprintf("%s : jump %s", pod.Status.PodIP, name))
		}
	}
	// Replies pass. What pods send to this host goes through input, what they send on goes through forward; what the host itself sends is not filtered.
	hook := func(name string, rules ...string) string {
		return fmt.Sprintf("  chain %s {\n    type filter hook %s priority filter - 5; policy accept;\n    ct state established,related accept\n%s  }\n", name, name, strings.Join(rules, ""))
	}
	from, to := dispatch("saddr", jumps[netv1.PolicyTypeEgress]), dispatch("daddr", jumps[netv1.PolicyTypeIngress])
	return "table ip netpol\ndelete table ip netpol\ntable ip netpol {\n" + chains.String() + hook("forward", from, to) + hook("input", from) + "}\n"
}

func dispatch(field string, jumps []string) string {
	if len(jumps) == 0 {
		return ""
	}
	return fmt.Sprintf("    ip %s vmap { %s }\n", field, strings.Join(jumps, ", "))
}

// live tells whether the pod has an address of its own in use.
func live(pod *corev1.Pod) bool {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return err == nil && address.Is4() && !pod.Spec.HostNetwork && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// allowed returns the expressions that let the pod's traffic through, and whether any policy isolates it in that direction.
func (c Cluster) allowed(pod *corev1.Pod, direction netv1.PolicyType) (matches []string, isolated bool) {
	for _, policy := range c.Policies {
		if policy.Namespace != pod.Namespace || !selects(&policy.Spec.PodSelector, pod.Labels) || !slices.Contains(policy.Spec.PolicyTypes, direction) {
			continue
		}
		isolated = true
		if direction == netv1.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				matches = append(matches, expressions(c.peers(pod.Namespace, rule.From, "saddr"), rule.Ports, pod)...)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				matches = append(matches, expressions(c.peers(pod.Namespace, rule.To, "daddr"), rule.Ports, nil)...)
			}
		}
	}
	return matches, isolated
}

// peer is one side of a rule: the expression that matches its addresses, and the pods behind them.
type peer struct {
	match string
	pods  []*corev1.Pod
}

func (c Cluster) peers(namespace string, peers []netv1.NetworkPolicyPeer, field string) []peer {
	if len(peers) == 0 {
		return []peer{{pods: c.Pods}}
	}
	var out []peer
	for _, p := range peers {
		if p.IPBlock != nil {
			// the table is of IPv4, as the lab's pods are: an address of the other version matches none of them
			if prefix, err := netip.ParsePrefix(p.IPBlock.CIDR); err != nil || !prefix.Addr().Is4() {
				continue
			}
			match := fmt.Sprintf("ip %s %s", field, p.IPBlock.CIDR)
			if len(p.IPBlock.Except) > 0 {
				match += fmt.Sprintf(" ip %s != { %s }", field, strings.Join(p.IPBlock.Except, ", "))
			}
			out = append(out, peer{match: match})
		} else if pods := c.selected(namespace, p); len(pods) > 0 {
			out = append(out, peer{match: fmt.Sprintf("ip %s { %s }", field, addresses(pods)), pods: pods})
		}
	}
	return out
}

// selected are the pods that a peer's selectors choose: without a namespace selector, those of the policy's own namespace.
func (c Cluster) selected(namespace string, p netv1.NetworkPolicyPeer) []*corev1.Pod {
	chosen := map[string]bool{namespace: p.NamespaceSelector == nil}
	if p.NamespaceSelector != nil {
		for _, ns := range c.Namespaces {
			chosen[ns.Name] = selects(p.NamespaceSelector, ns.Labels)
		}
	}
	return slices.DeleteFunc(slices.Clone(c.Pods), func(pod *corev1.Pod) bool {
		return !chosen[pod.Namespace] || (p.PodSelector != nil && !selects(p.PodSelector, pod.Labels))
	})
}

func addresses(pods []*corev1.Pod) string {
	var out []string
	for _, pod := range pods {
		out = append(out, pod.Status.PodIP)
	}
	return strings.Join(out, ", ")
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// expressions combines peers and ports. A named port is that of the pod which receives: of self (ingress), or of each peer (egress).
func expressions(peers []peer, ports []netv1.NetworkPolicyPort, self *corev1.Pod) []string {
	var out []string
	for _, p := range peers {
		if len(ports) == 0 {
			out = append(out, p.match)
		}
		for _, port := range ports {
			protocol := strings.ToLower(string(*cmp.Or(port.Protocol, ptr.To(corev1.ProtocolTCP))))
			switch {
			case port.Port == nil:
				out = append(out, p.match+" meta l4proto "+protocol)
			case port.Port.Type == intstr.Int:
				out = append(out, fmt.Sprintf("%s %s dport %d-%d", p.match, protocol, port.Port.IntVal, *cmp.Or(port.EndPort, &port.Port.IntVal)))
			case self != nil:
				out = append(out, named(p.match, self, port.Port.StrVal, protocol)...)
			default:
				for _, pod := range p.pods {
					out = append(out, named("ip daddr "+pod.Status.PodIP, pod, port.Port.StrVal, protocol)...)
				}
			}
		}
	}
	return out
}

func named(match string, pod *corev1.Pod, name, protocol string) []string {
	var out []string
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && strings.EqualFold(string(cmp.Or(port.Protocol, corev1.ProtocolTCP)), protocol) {
				out = append(out, fmt.Sprintf("%s %s dport %d", match, protocol, port.ContainerPort))
			}
		}
	}
	return out
}
