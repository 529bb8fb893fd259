// Package config reads K3s's settings: config.yaml and its drop-ins (docs.k3s.io, Configuration Options).
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Config holds the values of K3s's flags by name; a flag given once has one value.
type Config map[string][]string

// defaults are the flags that the stand-in acts on.
var defaults = Config{
	"write-kubeconfig-mode": {"0600"}, "tls-san": nil, "disable": nil, "node-label": nil, "node-taint": nil, "node-name": nil, "node-ip": nil, "resolv-conf": nil,
	"cluster-cidr": {"10.42.0.0/16"}, "service-cidr": {"10.43.0.0/16"}, "cluster-dns": {"10.43.0.10"}, "cluster-domain": {"cluster.local"},
	"service-node-port-range": {"30000-32767"}, "default-local-storage-path": {"/var/lib/rancher/k3s/storage"}, "token": nil, "token-file": nil,
	"secrets-encryption": {"false"}, "secrets-encryption-provider": {"aescbc"}, "protect-kernel-defaults": {"false"}, "disable-network-policy": {"false"},
	"kube-apiserver-arg": nil, "kube-controller-manager-arg": nil, "kube-scheduler-arg": nil, "kubelet-arg": nil, "kube-proxy-arg": nil,
}

// inert are K3s's other flags: known, so nothing is wrong with a file that has them, but without effect here.
var inert = strings.Fields(`advertise-address advertise-port agent-token agent-token-file alsologtostderr bind-address cluster-init cluster-reset
	cluster-reset-restore-path config container-runtime-endpoint data-dir datastore-cafile datastore-certfile datastore-endpoint datastore-keyfile debug
	default-runtime disable-cloud-controller disable-default-registry-endpoint disable-helm-controller disable-kube-proxy disable-scheduler docker
	egress-selector-mode embedded-registry enable-pprof etcd-arg etcd-disable-snapshots etcd-expose-metrics etcd-snapshot-compress etcd-snapshot-dir
	etcd-snapshot-name etcd-snapshot-retention etcd-snapshot-schedule-cron flannel-backend flannel-cni-conf flannel-conf flannel-external-ip flannel-iface
	flannel-ipv6-masq helm-job-image https-listen-port image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint
	kube-cloud-controller-manager-arg lb-server-port log node-external-dns node-external-ip node-internal-dns nonroot-devices pause-image
	prefer-bundled-bin private-registry rootless selinux server servicelb-namespace snapshotter supervisor-metrics system-default-registry
	tls-san-security v vmodule vpn-auth vpn-auth-file with-node-id write-kubeconfig write-kubeconfig-group`)

// Load merges path and its drop-ins in path.d by name, later ones replacing earlier ones; a key ending in + appends instead. It also returns what K3s
// would log: an unknown key is skipped with a warning.
func Load(path string) (Config, []string, error) {
	c, warnings := Config{}, []string(nil)
	dropIns, err := filepath.Glob(path + ".d/*.y*ml")
	if err != nil {
		return nil, nil, err
	}
	for _, file := range append([]string{path}, dropIns...) {
		if err := c.merge(file); err != nil {
			return nil, nil, err
		}
	}
	for key := range c {
		if _, known := defaults[key]; known {
			continue
		}
		delete(c, key)
		if slices.Contains(inert, key) || strings.HasPrefix(key, "etcd-s3") {
			warnings = append(warnings, fmt.Sprintf("lab stand-in: --%s has no effect here", key))
		} else {
			warnings = append(warnings, fmt.Sprintf("Unknown flag --%s found in config.yaml, skipping", key))
		}
	}
	slices.Sort(warnings)
	for key, values := range defaults {
		if _, given := c[key]; !given {
			c[key] = values
		}
	}
	return c, warnings, nil
}

func (c Config) merge(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	values := map[string]any{}
	exact := func(d *json.Decoder) *json.Decoder { d.UseNumber(); return d } // 1000000, not 1e+06
	if err := yaml.Unmarshal(text, &values, exact); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for key, value := range values {
		if name, appends := strings.CutSuffix(key, "+"); appends {
			c[name] = append(c[name], texts(value)...)
		} else {
			c[key] = texts(value)
		}
	}
	return nil
}

func texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		return []string{fmt.Sprint(value)}
	}
	out := []string{}
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

// Value is the last value of a flag that is given once.
func (c Config) Value(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// On tells whether a boolean flag is set.
func (c Config) On(key string) bool { return c.Value(key) == "true" }

// List holds the values of a repeatable flag that may also be separated by commas.
func (c Config) List(key string) []string {
	out := []string{}
	for _, value := range c[key] {
		for _, part := range strings.Split(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// Args are a component's arguments: K3s's own, without those that the user's replace, then the user's.
func Args(own, users []string) []string {
	name := func(arg string) string {
		key, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		return key
	}
	replaced := map[string]bool{}
	for _, arg := range users {
		replaced[name(arg)] = true
	}
	out := slices.DeleteFunc(slices.Clone(own), func(arg string) bool { return replaced[name(arg)] })
	for _, arg := range users {
		out = append(out, "--"+strings.TrimLeft(arg, "-"))
	}
	return out
}
