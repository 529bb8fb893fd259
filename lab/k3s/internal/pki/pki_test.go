package pki

import (
	"crypto/x509"
	"os"
	"testing"

	"k8s.io/client-go/util/cert"
)

func TestIssue(t *testing.T) {
	dir := Dir(t.TempDir())
	issue := func(leaf Leaf) *x509.Certificate {
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
	serving := Leaf{Name: "serving", CA: "server-ca", CommonName: "kube-apiserver", Hosts: []string{"localhost", "127.0.0.1"}}
	first := issue(serving)
	ca, err := dir.CA("server-ca")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, host := range serving.Hosts {
		if _, err := first.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Error(err)
		}
	}
	if again := issue(serving); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("an unchanged certificate was issued anew")
	}
	serving.Hosts = append(serving.Hosts, "192.0.2.1")
	changed := issue(serving)
	if changed.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("a new name did not reach the certificate")
	}
	for _, file := range []string{"server-ca.crt", "server-ca.key"} {
		if err := os.Remove(dir.Path(file)); err != nil {
			t.Fatal(err)
		}
	}
	if other := issue(serving); other.SerialNumber.Cmp(changed.SerialNumber) == 0 {
		t.Error("a certificate of another authority was kept")
	}
	client := issue(Leaf{Name: "admin", CA: "client-ca", CommonName: "system:admin", Organization: "system:masters"})
	if client.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || client.Subject.Organization[0] != "system:masters" {
		t.Errorf("not a client's certificate: %v", client.Subject)
	}
}
