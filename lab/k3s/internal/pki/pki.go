// Package pki makes the keys and certificates of a server, in one directory, as K3s keeps them (docs.k3s.io, k3s certificate).
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// Dir is the directory of the files NAME.key and NAME.crt.
type Dir string

// Leaf is a certificate for a client (without hosts) or a server (with hosts: names and addresses).
type Leaf struct {
	Name, CA, CommonName, Organization string
	Hosts                              []string
}

const renewBefore = 120 * 24 * time.Hour

// Path is that of a file in the directory.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Key returns the key NAME.key, made on first use.
func (d Dir) Key(name string) (crypto.Signer, error) {
	path := d.Path(name + ".key")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		text, err := keyutil.MarshalPrivateKeyToPEM(key)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	key, err := keyutil.PrivateKeyFromFile(path)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: not a key that signs", path)
	}
	return signer, nil
}

// CA returns the certificate authority of that name, made on first use for ten years.
func (d Dir) CA(name string) (*x509.Certificate, error) {
	if certs, err := cert.CertsFromFile(d.Path(name + ".crt")); err == nil {
		return certs[0], nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := d.Key(name)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: fmt.Sprintf("k3s-%s@%d", name, time.Now().Unix())}, NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature}
	return d.sign(name, template, template, key, key)
}

// Issue writes the leaf, followed by its authority's certificate. A leaf that still says the same and is valid for 120 days more is kept.
func (d Dir) Issue(leaf Leaf) error {
	ca, err := d.CA(leaf.CA)
	if err != nil {
		return err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: leaf.CommonName}, NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if leaf.Organization != "" {
		template.Subject.Organization = []string{leaf.Organization}
	}
	for _, host := range leaf.Hosts {
		template.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if certs, err := cert.CertsFromFile(d.Path(leaf.Name + ".crt")); err == nil && same(certs[0], template) && certs[0].CheckSignatureFrom(ca) == nil {
		return nil
	}
	key, err := d.Key(leaf.Name)
	if err != nil {
		return err
	}
	signer, err := d.Key(leaf.CA)
	if err != nil {
		return err
	}
	_, err = d.sign(leaf.Name, template, ca, key, signer)
	return err
}

func same(have, want *x509.Certificate) bool {
	return time.Until(have.NotAfter) > renewBefore && have.Subject.String() == want.Subject.String() && slices.Equal(have.DNSNames, want.DNSNames) &&
		slices.EqualFunc(have.IPAddresses, want.IPAddresses, net.IP.Equal)
}

func (d Dir) sign(name string, template, parent *x509.Certificate, key, signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore = serial, time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
	if parent != template {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: parent.Raw})...)
	}
	if err := os.WriteFile(d.Path(name+".crt"), text, 0o600); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
