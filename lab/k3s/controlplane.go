package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
)

const (
	kineSocket     = "unix:///run/k3s/kine.sock"
	encryptionFile = dataDir + "/server/cred/encryption-config.json"
)

// startAPI starts the datastore and the API server.
func (s *server) startAPI(context.Context) error {
	database := filepath.Join(dataDir, "server/db/state.db")
	if err := s.component("kine", "--endpoint=sqlite://"+database+"?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
		"--listen-address="+kineSocket, "--metrics-bind-address=0"); err != nil {
		return err
	}
	args := []string{
		"--etcd-servers=" + kineSocket, "--secure-port=6443", "--advertise-address=" + s.ip, "--allow-privileged=true", "--anonymous-auth=false",
		"--profiling=false", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--enable-aggregator-routing=true",
		"--tls-cert-file=" + certificates.Path("serving-kube-apiserver.crt"), "--tls-private-key-file=" + certificates.Path("serving-kube-apiserver.key"),
		"--client-ca-file=" + certificates.Path("client-ca.crt"), "--kubelet-certificate-authority=" + certificates.Path("server-ca.crt"),
		"--kubelet-client-certificate=" + certificates.Path("client-kube-apiserver.crt"), "--kubelet-client-key=" + certificates.Path("client-kube-apiserver.key"),
		"--requestheader-client-ca-file=" + certificates.Path("request-header-ca.crt"), "--requestheader-allowed-names=system:auth-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + certificates.Path("client-auth-proxy.crt"), "--proxy-client-key-file=" + certificates.Path("client-auth-proxy.key"),
		"--service-account-key-file=" + certificates.Path("service.key"), "--service-account-signing-key-file=" + certificates.Path("service.key"),
		"--service-account-issuer=https://kubernetes.default.svc." + s.config.Value("cluster-domain"),
		"--service-cluster-ip-range=" + s.config.Value("service-cidr"), "--service-node-port-range=" + s.config.Value("service-node-port-range"),
	}
	encrypted, err := s.ensureEncryption()
	if err != nil {
		return err
	}
	if encrypted {
		args = append(args, "--encryption-provider-config="+encryptionFile)
	}
	return s.component("kube-apiserver", args...)
}

func (s *server) startControllers(context.Context) error {
	if err := s.component("kube-controller-manager", "--kubeconfig="+kubeconfigOf("controller"), "--use-service-account-credentials=true",
		"--service-account-private-key-file="+certificates.Path("service.key"), "--root-ca-file="+certificates.Path("server-ca.crt"),
		"--cluster-signing-cert-file="+certificates.Path("client-ca.crt"), "--cluster-signing-key-file="+certificates.Path("client-ca.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr="+s.clusterCIDR.String(), "--leader-elect=false", "--profiling=false", "--bind-address=127.0.0.1"); err != nil {
		return err
	}
	return s.component("kube-scheduler", "--kubeconfig="+kubeconfigOf("scheduler"), "--leader-elect=false", "--profiling=false", "--bind-address=127.0.0.1")
}

// encryption is the part of Kubernetes' EncryptionConfiguration that K3s writes: one provider for Secrets, then plain text for what is older.
type encryption struct {
	Kind       string               `json:"kind"`
	APIVersion string               `json:"apiVersion"`
	Resources  []encryptedResources `json:"resources"`
}

type encryptedResources struct {
	Resources []string                        `json:"resources"`
	Providers []map[string]encryptionProvider `json:"providers"`
}

type encryptionProvider struct {
	Keys []encryptionKey `json:"keys,omitempty"`
}

type encryptionKey struct {
	Name   string `json:"name"`
	Secret []byte `json:"secret"`
}

// keyTypes are the providers and what K3s calls them.
var keyTypes = map[string]string{"aescbc": "AES-CBC", "secretbox": "XSalsa20-POLY1305"}

// active is the provider that encrypts, with its key's name.
func (e encryption) active() (provider string, key string) {
	for provider, settings := range e.Resources[0].Providers[0] {
		return provider, settings.Keys[0].Name
	}
	return "", ""
}

func readEncryption() (encryption, error) {
	var e encryption
	text, err := os.ReadFile(encryptionFile)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%s: %w", encryptionFile, err)
	}
	if len(e.Resources) == 0 || len(e.Resources[0].Providers) == 0 {
		return e, fmt.Errorf("%s: no provider", encryptionFile)
	}
	return e, nil
}

// ensureEncryption makes the key on first use and tells whether Secrets are encrypted. What exists is kept, as in K3s: only rotate-keys changes it.
func (s *server) ensureEncryption() (bool, error) {
	provider := s.config.Value("secrets-encryption-provider")
	have, err := readEncryption()
	if err == nil {
		if active, _ := have.active(); active != provider {
			logrus.Warnf("secrets-encryption-provider stays %s: a change to %s needs rotate-keys", active, provider)
		}
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if !s.config.On("secrets-encryption") {
		return false, nil
	}
	if keyTypes[provider] == "" {
		return false, fmt.Errorf("secrets-encryption-provider: unsupported value %q", provider)
	}
	key := encryptionKey{Name: provider + "key", Secret: make([]byte, 32)}
	rand.Read(key.Secret)
	text, err := json.Marshal(encryption{Kind: "EncryptionConfiguration", APIVersion: "apiserver.config.k8s.io/v1", Resources: []encryptedResources{{
		Resources: []string{"secrets"}, Providers: []map[string]encryptionProvider{{provider: {Keys: []encryptionKey{key}}}, {"identity": {}}}}}})
	if err != nil {
		return false, err
	}
	return true, replaceFile(encryptionFile, text, 0o600)
}

func secretsEncrypt(args []string) error {
	if strings.Join(args, " ") != "status" {
		return errors.New("secrets-encrypt: the lab stand-in has only status")
	}
	e, err := readEncryption()
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("Encryption Status: Disabled, no configuration file found")
		return nil
	}
	if err != nil {
		return err
	}
	provider, key := e.active()
	fmt.Printf("Encryption Status: Enabled\nCurrent Rotation Stage: start\nServer Encryption Hashes: All hashes match\n\n"+
		"Active  Key Type           Name\n------  --------           ----\n *      %-17s  %s\n", keyTypes[provider], key)
	return nil
}
