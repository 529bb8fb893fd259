package pki

import (
	"crypto/x509"
	"os"
	"testing"

	"k8s.io/client-go/util/cert"
)

func TestIssue(t *testing.T) {
	dir := Dir(t.TempDir())
	leaf := Leaf{Name: "serving", CA: "server-ca", CommonName: "kube-apiserver", Hosts: []string{"localhost", "127.0.0.1", "localhost"}}
	issue := func() *x509.Certificate {
		t.Helper()
		if err := dir.Issue(leaf); err != nil {
			t.Fatal(err)
		}
		certs, err := cert.CertsFromFile(dir.Path(leaf.Name + ".crt"))
		if err != nil {
			t.Fatal(err)
		}
		return certs[0]
	}
	first := issue()
	roots, err := cert.NewPool(dir.Path("server-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range leaf.Hosts {
		if _, err := first.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Error(err)
		}
	}
	if !issue().Equal(first) {
		t.Error("an unchanged certificate was issued anew")
	}
	leaf.Hosts = append(leaf.Hosts, "192.0.2.1")
	changed := issue()
	if changed.Equal(first) {
		t.Error("a new address did not reach the certificate")
	}
	for _, file := range []string{"server-ca.crt", "server-ca.key"} {
		if err := os.Remove(dir.Path(file)); err != nil {
			t.Fatal(err)
		}
	}
	if issue().Equal(changed) {
		t.Error("a certificate of another authority was kept")
	}
}
