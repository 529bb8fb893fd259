package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"sigs.k8s.io/yaml"
)

// restrict_oom_score_adj: a container that may not raise its own score could not start any other.
const containerdConfig = `version = 3
root = %q
state = "/run/k3s/containerd"
[grpc]
address = %q
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [%q]
conf_dir = %q
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "lab.local/pause:1"
`

// startRuntime prepares the kernel and the pod network, and starts containerd.
func (s *server) startRuntime() {
	_ = exec.Command("modprobe", "-a", "br_netfilter", "overlay").Run() // it fails where they are built in, or the host of a container loaded them
	for _, key := range []string{"net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward"} {
		if err := os.WriteFile("/proc/sys/"+key, []byte("1"), 0o644); err != nil {
			logrus.Warnf("%s cannot be set, pods may not reach Services: %v", key, err)
		}
	}
	etc := filepath.Join(dataDir, "agent/etc")
	replaceFile(filepath.Join(etc, "cni/10-k3s.conflist"), get(json.Marshal(s.network())), 0o600)
	settings := fmt.Sprintf(containerdConfig, filepath.Join(dataDir, "agent/containerd"), containerdSock, s.bin, filepath.Join(etc, "cni"))
	replaceFile(filepath.Join(etc, "containerd.toml"), []byte(settings), 0o600)
	if _, err := os.Stat("/etc/rancher/k3s/registries.yaml"); err == nil {
		logrus.Warn("lab stand-in: registries.yaml has no effect here")
	}
	s.start("containerd", filepath.Join(s.bin, "containerd"), "--config", filepath.Join(etc, "containerd.toml"), "--log-level", "warn")
}

// network is the pods': one bridge on this node, addresses from the first /24 of the cluster's network, kept in /run since no pod outlives it.
func (s *server) network() map[string]any {
	subnet := netip.PrefixFrom(s.clusterCIDR.Masked().Addr(), max(24, s.clusterCIDR.Bits()))
	ipam := map[string]any{"type": "host-local", "dataDir": "/run/k3s/cni", "ranges": [][]map[string]string{{{"subnet": subnet.String()}}}}
	bridge := map[string]any{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam}
	portmap := map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}}
	return map[string]any{"cniVersion": "1.0.0", "name": "cbr0", "plugins": []any{bridge, portmap}}
}

// startNode starts the kubelet and kube-proxy. Taints are given at registration only, as in K3s.
func (s *server) startNode() {
	values := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": false, "failSwapOn": false,
		"resolvConf": s.resolvConf(), "clusterDNS": s.config.List("cluster-dns"), "clusterDomain": s.config.Value("cluster-domain"),
		"authentication": map[string]any{"anonymous": map[string]bool{"enabled": false}, "webhook": map[string]bool{"enabled": true},
			"x509": map[string]string{"clientCAFile": certificates.Path("client-ca.crt")}},
		"authorization": map[string]string{"mode": "Webhook"}, "containerRuntimeEndpoint": "unix://" + containerdSock,
		"tlsCertFile": certificates.Path("serving-kubelet.crt"), "tlsPrivateKeyFile": certificates.Path("serving-kubelet.key"),
		"protectKernelDefaults": s.config.On("protect-kernel-defaults"),
	}
	settings := get(yaml.Marshal(values))
	dropIns := filepath.Join(dataDir, "agent/etc/kubelet.conf.d")
	replaceFile(filepath.Join(dropIns, "00-k3s-defaults.conf"), settings, 0o600)
	labels := append([]string{"node.kubernetes.io/instance-type=k3s", "lab.shaka.platform/stand-in=true"}, s.config.List("node-label")...)
	args := []string{"--config-dir=" + dropIns, "--read-only-port=0", "--kubeconfig=" + kubeconfigOf("kubelet"), "--hostname-override=" + s.node, "--node-ip=" + s.ip,
		"--node-labels=" + strings.Join(labels, ",")}
	if taints := s.config.List("node-taint"); len(taints) > 0 {
		args = append(args, "--register-with-taints="+strings.Join(taints, ","))
	}
	s.component("kubelet", args...)
	// A container's root may not change the connection tracking of its host.
	s.component("kube-proxy", "--kubeconfig="+kubeconfigOf("kube-proxy"), "--cluster-cidr="+s.clusterCIDR.String(), "--hostname-override="+s.node,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
}
