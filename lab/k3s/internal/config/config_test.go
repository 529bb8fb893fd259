package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestLoad(t *testing.T) {
	// the example of the page, with K3s's result
	page := map[string]string{
		"config.yaml":              "token: boop\nnode-label: [foo=bar, bar=baz]\n",
		"config.yaml.d/test1.yaml": "write-kubeconfig-mode: 600\nnode-taint: [alice=bob:NoExecute]\n",
		"config.yaml.d/test2.yaml": "write-kubeconfig-mode: 777\nnode-label: [other=what, foo=three]\nnode-taint+: [charlie=delta:NoSchedule]\n",
	}
	result := Config{"token": {"boop"}, "write-kubeconfig-mode": {"777"}, "node-label": {"other=what", "foo=three"}, "node-taint": {"alice=bob:NoExecute", "charlie=delta:NoSchedule"}}
	for name, test := range map[string]struct {
		files    map[string]string
		want     Config
		warnings []string
	}{
		"no file":       {want: Config{"write-kubeconfig-mode": {"0600"}, "secrets-encryption": {"false"}}},
		"several files": {files: page, want: result},
		"unknown key": {files: map[string]string{"config.yaml": "secret-encryption: true\n"}, want: Config{"secrets-encryption": {"false"}},
			warnings: []string{"Unknown flag --secret-encryption found in config.yaml, skipping"}},
		"without effect": {files: map[string]string{"config.yaml": "selinux: true\n"}, warnings: []string{"lab stand-in: --selinux has no effect here"}},
		"not yaml":       {files: map[string]string{"config.yaml.d/readme.txt": "{"}},
		"large number":   {files: map[string]string{"config.yaml.d/a.yml": "kubelet-arg: 1000000\n"}, want: Config{"kubelet-arg": {"1000000"}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "config.yaml.d"), 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, warnings, err := Load(filepath.Join(dir, "config.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for key, want := range test.want {
				if !reflect.DeepEqual(got[key], want) {
					t.Errorf("%s: got %q, want %q", key, got[key], want)
				}
			}
			if !reflect.DeepEqual(warnings, test.warnings) {
				t.Errorf("warnings: got %q, want %q", warnings, test.warnings)
			}
		})
	}
}

func TestArgs(t *testing.T) {
	own, users := []string{"--profiling=false", "--enable-admission-plugins=NodeRestriction"}, []string{"enable-admission-plugins=NodeRestriction,EventRateLimit"}
	want := []string{"--profiling=false", "--enable-admission-plugins=NodeRestriction,EventRateLimit"}
	if got := Args(own, users); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
