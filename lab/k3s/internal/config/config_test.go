package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func load(t *testing.T, files map[string]string, args ...string) (Config, []string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.Mkdir(path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		file := path
		if name != "config.yaml" {
			file = filepath.Join(path+".d", name)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(path, args)
}

func TestLoad(t *testing.T) {
	// the example of the page, with K3s's result
	page := map[string]string{
		"config.yaml": "token: boop\nnode-label: [foo=bar, bar=baz]\n",
		"test1.yaml":  "write-kubeconfig-mode: 600\nnode-taint: [alice=bob:NoExecute]\n",
		"test2.yaml":  "write-kubeconfig-mode: 777\nnode-label: [other=what, foo=three]\nnode-taint+: [charlie=delta:NoSchedule]\n",
	}
	for name, test := range map[string]struct {
		files    map[string]string
		args     []string
		want     Config
		warnings []string
	}{
		"no file":         {want: Config{"write-kubeconfig-mode": {"0600"}, "secrets-encryption": {"false"}}},
		"several files":   {files: page, want: Config{"token": {"boop"}, "write-kubeconfig-mode": {"777"}, "node-label": {"other=what", "foo=three"}, "node-taint": {"alice=bob:NoExecute", "charlie=delta:NoSchedule"}}},
		"flags win":       {files: page, args: []string{"--node-label", "a=b", "--token=x", "--secrets-encryption"}, want: Config{"token": {"x"}, "node-label": {"a=b"}, "secrets-encryption": {"true"}}},
		"unknown skipped": {files: map[string]string{"config.yaml": "secret-encryption: true\n"}, want: Config{"secrets-encryption": {"false"}}, warnings: []string{"Unknown flag --secret-encryption found in config.yaml, skipping"}},
		"without effect":  {files: map[string]string{"config.yaml": "selinux: true\n"}, warnings: []string{"lab stand-in: --selinux has no effect here"}},
		"not yaml":        {files: map[string]string{"readme.txt": "{"}},
		"large numbers":   {files: map[string]string{"config.yml": "kubelet-arg: 1000000\n"}, want: Config{"kubelet-arg": {"1000000"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings, err := load(t, test.files, test.args...)
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
	for name, broken := range map[string][]string{"flag": {"", "--nonsense"}, "file": {"a: ["}} {
		if _, _, err := load(t, map[string]string{"config.yaml": broken[0]}, broken[1:]...); err == nil {
			t.Errorf("a broken %s is no error", name)
		}
	}
}

func TestArgs(t *testing.T) {
	got := Args([]string{"--profiling=false", "--enable-admission-plugins=NodeRestriction"}, []string{"enable-admission-plugins=NodeRestriction,EventRateLimit", "--v=2"})
	want := []string{"--profiling=false", "--enable-admission-plugins=NodeRestriction,EventRateLimit", "--v=2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	got := Config{"disable": {"traefik, servicelb", "coredns"}}.List("disable")
	if want := []string{"traefik", "servicelb", "coredns"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
