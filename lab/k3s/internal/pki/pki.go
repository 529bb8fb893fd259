// Package pki keeps the keys and certificates of a server in one directory, with the rules of docs.k3s.io, k3s certificate.
package pki

import (
	"crypto"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/pkiutil"
)

// RenewBefore is how long before its end a certificate is issued anew, at a start.
const RenewBefore = 120 * 24 * time.Hour

// Dir is the directory of the files NAME.key and NAME.crt.
type Dir string

// Leaf is a certificate for a client (without hosts) or a server (with hosts: names and addresses), valid for a year.
type Leaf struct {
	Name, CA, CommonName, Organization string
	Hosts                              []string
}

// Path is that of a file in the directory.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Key makes the key NAME.key unless it is there.
func (d Dir) Key(name string) error {
	if _, err := os.Stat(d.Path(name + ".key")); err == nil {
		return nil
	}
	key, err := pkiutil.NewPrivateKey(kubeadm.EncryptionAlgorithmECDSAP256)
	if err != nil {
		return err
	}
	return pkiutil.WriteKey(string(d), name, key)
}

// ca returns the authority of that name, made on first use for ten years.
func (d Dir) ca(name string) (*x509.Certificate, crypto.Signer, error) {
	if _, err := os.Stat(d.Path(name + ".crt")); err == nil {
		return pkiutil.TryLoadCertAndKeyFromDisk(string(d), name)
	}
	ca, key, err := pkiutil.NewCertificateAuthority(config("k3s-" + name))
	if err != nil {
		return nil, nil, err
	}
	return ca, key, pkiutil.WriteCertAndKey(string(d), name, ca, key)
}

// Issue writes the leaf and its key. A certificate that still says the same, from the same authority, is kept until RenewBefore its end.
func (d Dir) Issue(leaf Leaf) error {
	ca, caKey, err := d.ca(leaf.CA)
	if err != nil {
		return err
	}
	want := config(leaf.CommonName)
	want.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if leaf.Organization != "" {
		want.Organization = []string{leaf.Organization}
	}
	for _, host := range leaf.Hosts {
		want.Usages[0] = x509.ExtKeyUsageServerAuth
		if address := net.ParseIP(host); address != nil {
			want.AltNames.IPs = append(want.AltNames.IPs, address)
		} else {
			want.AltNames.DNSNames = append(want.AltNames.DNSNames, host)
		}
	}
	have, err := cert.CertsFromFile(d.Path(leaf.Name + ".crt"))
	if err == nil && same(have[0], want.Config) && have[0].CheckSignatureFrom(ca) == nil && time.Until(have[0].NotAfter) > RenewBefore {
		return nil
	}
	issued, key, err := pkiutil.NewCertAndKey(ca, caKey, want)
	if err != nil {
		return err
	}
	return pkiutil.WriteCertAndKey(string(d), leaf.Name, issued, key)
}

func config(name string) *pkiutil.CertConfig {
	return &pkiutil.CertConfig{Config: cert.Config{CommonName: name}, EncryptionAlgorithm: kubeadm.EncryptionAlgorithmECDSAP256}
}

// same compares names without their order, as signing sorts and deduplicates them.
func same(have *x509.Certificate, want cert.Config) bool {
	names := func(dns []string, ips []net.IP) []string {
		for _, ip := range ips {
			dns = append(slices.Clone(dns), ip.String())
		}
		return slices.Compact(slices.Sorted(slices.Values(dns)))
	}
	return have.Subject.CommonName == want.CommonName && slices.Equal(have.Subject.Organization, want.Organization) &&
		slices.Equal(names(have.DNSNames, have.IPAddresses), names(want.AltNames.DNSNames, want.AltNames.IPs))
}
