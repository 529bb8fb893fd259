package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

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
func (s *server) startRuntime(context.Context) error {
	if output, err := exec.Command("modprobe", "-a", "br_netfilter", "overlay").CombinedOutput(); err != nil {
		logrus.Debugf("modprobe: %v: %s", err, output) // built in, or loaded by the host of a container
	}
	for _, key := range []string{"net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward"} {
		if err := os.WriteFile("/proc/sys/"+key, []byte("1"), 0o644); err != nil {
			logrus.Warnf("%s cannot be set, pods may not reach Services: %v", key, err)
		}
	}
	etc := filepath.Join(dataDir, "agent/etc")
	network, err := json.Marshal(s.network())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(etc, "cni/net.d"), 0o755); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(etc, "cni/net.d/10-k3s.conflist"), network, 0o600); err != nil {
		return err
	}
	settings := fmt.Sprintf(containerdConfig, filepath.Join(dataDir, "agent/containerd"), containerdSock, s.bin, filepath.Join(etc, "cni/net.d"))
	if err := replaceFile(filepath.Join(etc, "containerd.toml"), []byte(settings), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/rancher/k3s/registries.yaml"); err == nil {
		logrus.Warn("lab stand-in: registries.yaml has no effect here")
	}
	return s.start("containerd", filepath.Join(s.bin, "containerd"), "--config", filepath.Join(etc, "containerd.toml"), "--log-level", "warn")
}

// network is the pods': one bridge on this node, addresses from the first /24 of the cluster's network, kept in /run since no pod outlives it.
func (s *server) network() map[string]any {
	subnet := netip.PrefixFrom(s.clusterCIDR.Masked().Addr(), max(24, s.clusterCIDR.Bits()))
	ipam := map[string]any{"type": "host-local", "dataDir": "/run/k3s/cni", "ranges": [][]map[string]string{{{"subnet": subnet.String()}}}}
	bridge := map[string]any{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam}
	portmap := map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}}
	return map[string]any{"cniVersion": "1.0.0", "name": "cbr0", "plugins": []any{bridge, portmap}}
}

// startNode starts the kubelet and kube-proxy. Labels and taints are given at registration only, as in K3s.
func (s *server) startNode(context.Context) error {
	settings, err := yaml.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": false, "failSwapOn": false,
		"clusterDNS": s.config.List("cluster-dns"), "clusterDomain": s.config.Value("cluster-domain"),
		"authentication": map[string]any{"anonymous": map[string]bool{"enabled": false}, "webhook": map[string]bool{"enabled": true},
			"x509": map[string]string{"clientCAFile": certificates.Path("client-ca.crt")}},
		"authorization": map[string]string{"mode": "Webhook"}, "containerRuntimeEndpoint": "unix://" + containerdSock,
		"tlsCertFile": certificates.Path("serving-kubelet.crt"), "tlsPrivateKeyFile": certificates.Path("serving-kubelet.key"),
		"protectKernelDefaults": s.config.On("protect-kernel-defaults"), "kubeReserved": beyondCap(),
	})
	if err != nil {
		return err
	}
	dropIns := filepath.Join(dataDir, "agent/etc/kubelet.conf.d")
	if err := replaceFile(filepath.Join(dropIns, "00-k3s-defaults.conf"), settings, 0o600); err != nil {
		return err
	}
	labels := append([]string{"node.kubernetes.io/instance-type=k3s", "lab.shaka.platform/stand-in=true"}, s.config.List("node-label")...)
	args := []string{"--config-dir=" + dropIns, "--kubeconfig=" + kubeconfigOf("kubelet"), "--hostname-override=" + s.node, "--node-ip=" + s.ip,
		"--node-labels=" + strings.Join(labels, ",")}
	if taints := s.config.List("node-taint"); len(taints) > 0 {
		args = append(args, "--register-with-taints="+strings.Join(taints, ","))
	}
	if err := s.component("kubelet", args...); err != nil {
		return err
	}
	// A container's root may not change the connection tracking of its host.
	return s.component("kube-proxy", "--kubeconfig="+kubeconfigOf("kube-proxy"), "--cluster-cidr="+s.clusterCIDR.String(), "--hostname-override="+s.node,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
}

// beyondCap is what the kubelet must not hand out: it sees the whole machine, while a lab server may be capped to a part of it.
func beyondCap() map[string]string {
	reserved := map[string]string{}
	var machine syscall.Sysinfo_t
	if err := syscall.Sysinfo(&machine); err != nil {
		logrus.Warnf("memory is not capped: %v", err)
	}
	total := int(machine.Totalram) * int(machine.Unit)
	if limit := firstNumber("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"); limit > 0 && limit < total {
		reserved["memory"] = strconv.Itoa(total - limit)
	}
	quota := firstNumber("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us") // microseconds of CPU in 100 000 of time
	if excess := runtime.NumCPU()*1000 - quota/100; quota > 0 && excess > 0 {
		reserved["cpu"] = fmt.Sprintf("%dm", excess)
	}
	return reserved
}

// firstNumber is the first word of the first of the files that is there, 0 when there is none or it is not a number.
func firstNumber(files ...string) int {
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			if n, err := strconv.Atoi(strings.Fields(string(text) + " -")[0]); err == nil {
				return n
			}
		}
	}
	return 0
}
