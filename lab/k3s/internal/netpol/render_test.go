package netpol

import (
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

const fixture = `
Pods:
- {metadata: {name: web, namespace: a, labels: {app: web}}, status: {podIP: 10.42.0.2}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}}
- {metadata: {name: db, namespace: a, labels: {app: db}}, status: {podIP: 10.42.0.3}, spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}}
- {metadata: {name: edge, namespace: b, labels: {app: edge}}, status: {podIP: 10.42.0.4}}
- {metadata: {name: done, namespace: a, labels: {app: web}}, status: {podIP: 10.42.0.5, phase: Succeeded}}
- {metadata: {name: agent, namespace: a, labels: {app: web}}, status: {podIP: 192.0.2.1}, spec: {hostNetwork: true}}
Namespaces:
- {metadata: {name: a}}
- {metadata: {name: b, labels: {role: edge}}}
`

// chain returns the rules of a chain, and false when there is none.
func chain(table, name string) (string, bool) {
	found := regexp.MustCompile(`chain ` + name + ` \{\n    #.*\n((?:    .*\n)*)  \}`).FindStringSubmatch(table)
	if found == nil {
		return "", false
	}
	return strings.ReplaceAll(strings.TrimSpace(found[1]), "\n    ", "; "), true
}

func TestRender(t *testing.T) {
	for name, test := range map[string]struct{ spec, chain, want string }{
		"deny":                    {`{podSelector: {}, policyTypes: [Ingress]}`, "ingress_10_42_0_2", "reject"},
		"allow all":               {`{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}`, "ingress_10_42_0_2", "return; reject"},
		"same namespace":          {`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}`, "ingress_10_42_0_2", "ip saddr { 10.42.0.2, 10.42.0.3 } return; reject"},
		"other namespace":         {`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: {role: edge}}}]}]}`, "ingress_10_42_0_2", "ip saddr { 10.42.0.4 } return; reject"},
		"the other IP version":    {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: "fd00::5/128"}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]}`, "egress_10_42_0_2", "ip daddr 192.0.2.0/24 return; reject"},
		"nobody selected":         {`{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}`, "ingress_10_42_0_2", "reject"},
		"block with exception":    {`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}]}`, "egress_10_42_0_2", "ip daddr 0.0.0.0/0 ip daddr != { 10.0.0.0/8 } tcp dport 443-443 return; reject"},
		"named port, own":         {`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{ports: [{port: http}]}]}`, "ingress_10_42_0_2", "tcp dport 8080 return; reject"},
		"named port, the peer's":  {`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: sql}]}]}`, "egress_10_42_0_2", "ip daddr 10.42.0.3 tcp dport 5432 return; reject"},
		"range of ports":          {`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 8000, endPort: 8100}, {protocol: UDP, port: 53}]}]}`, "egress_10_42_0_2", "tcp dport 8000-8100 return; udp dport 53-53 return; reject"},
		"protocol alone":          {`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP}]}]}`, "egress_10_42_0_2", "meta l4proto udp return; reject"},
		"not selected":            {`{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}`, "ingress_10_42_0_2", ""},
		"other direction":         {`{podSelector: {}, policyTypes: [Egress]}`, "ingress_10_42_0_2", ""},
		"finished pod":            {`{podSelector: {}, policyTypes: [Ingress]}`, "ingress_10_42_0_5", ""},
		"pod on the host network": {`{podSelector: {}, policyTypes: [Ingress]}`, "ingress_192_0_2_1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var cluster Cluster
			policy := "\nPolicies:\n- {metadata: {name: p, namespace: a}, spec: " + test.spec + "}\n"
			if err := yaml.UnmarshalStrict([]byte(fixture+policy), &cluster); err != nil {
				t.Fatal(err)
			}
			table := Render(cluster)
			got, found := chain(table, test.chain)
			if got != test.want || found != (test.want != "") {
				t.Errorf("got %q (there: %v), want %q in\n%s", got, found, test.want, table)
			}
			if found != strings.Contains(table, "jump "+test.chain) {
				t.Errorf("a chain without a jump, or a jump without a chain:\n%s", table)
			}
		})
	}
}

func TestRenderIsStable(t *testing.T) {
	pods := []*corev1.Pod{{Status: corev1.PodStatus{PodIP: "10.42.0.3"}}, {Status: corev1.PodStatus{PodIP: "10.42.0.2"}}}
	policies := []*netv1.NetworkPolicy{{}, {}}
	policies[0].Name, policies[1].Name = "b", "a"
	first := Render(Cluster{Pods: pods, Policies: policies})
	pods[0], pods[1], policies[0], policies[1] = pods[1], pods[0], policies[1], policies[0]
	if Render(Cluster{Pods: pods, Policies: policies}) != first {
		t.Error("the order of the informers' lists shows in the table")
	}
}
