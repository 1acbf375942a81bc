// Package pki makes the keys and certificates of a cluster.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"devcluster/internal/files"
)

// certificateYears is longer than any test cluster lives; its certificates are never renewed.
const certificateYears = 10

type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// Dir makes, once, all keys and certificates of a cluster.
type Dir struct{ Root string }

func (p Dir) Path(name string) string { return filepath.Join(p.Root, name) }

// Leaf describes one certificate of a component or a user.
type Leaf struct {
	Name, User string
	Groups     []string
	DNS        []string
	Addresses  []net.IP
}

func (p Dir) Ensure(leaves []Leaf) error {
	if err := os.MkdirAll(p.Root, 0o700); err != nil {
		return err
	}
	authority, err := p.authority("ca", "devcluster")
	if err != nil {
		return err
	}
	frontProxy, err := p.authority("front-proxy-ca", "devcluster front proxy")
	if err != nil {
		return err
	}
	if err := p.leaf(frontProxy, Leaf{Name: "front-proxy-client", User: "front-proxy-client"}); err != nil {
		return err
	}
	for _, leaf := range leaves {
		if err := p.leaf(authority, leaf); err != nil {
			return err
		}
	}
	return p.serviceAccountKey()
}

// authority loads or makes a CA. Strict verifiers, Python 3.13 among them, ask for critical
// basicConstraints, keyUsage and key identifiers.
func (p Dir) authority(name, commonName string) (pair, error) {
	if loaded, err := p.load(name); err == nil || !errors.Is(err, os.ErrNotExist) {
		return loaded, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return p.issue(name, template, key, nil)
}

func (p Dir) leaf(authority pair, request Leaf) error {
	switch loaded, err := p.load(request.Name); {
	case err == nil && sameAddresses(loaded.certificate.IPAddresses, request.Addresses):
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: request.User, Organization: request.Groups},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              request.DNS,
		IPAddresses:           request.Addresses,
	}
	_, err = p.issue(request.Name, template, key, &authority)
	return err
}

// sameAddresses tells a certificate of a former start, when the node had another address.
func sameAddresses(has, wanted []net.IP) bool {
	return slices.EqualFunc(has, wanted, net.IP.Equal)
}

func (p Dir) issue(name string, template *x509.Certificate, key crypto.Signer, by *pair) (pair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair{}, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.AddDate(certificateYears, 0, 0)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, err
	}
	// The certificate is written last: a key without one is made anew.
	if err := p.writeKey(name+".key", key); err != nil {
		return pair{}, err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return pair{certificate, key}, files.Write(p.Path(name+".crt"), block, 0o600)
}

func (p Dir) writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return files.Write(p.Path(file), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func (p Dir) load(name string) (pair, error) {
	certificatePEM, err := os.ReadFile(p.Path(name + ".crt"))
	if err != nil {
		return pair{}, err
	}
	keyPEM, err := os.ReadFile(p.Path(name + ".key"))
	if err != nil {
		return pair{}, err
	}
	unusable := fmt.Errorf("%s and its key are unusable; remove the cluster: devcluster down --purge", p.Path(name+".crt"))
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return pair{}, unusable
	}
	certificate, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return pair{}, unusable
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return pair{}, unusable
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return pair{}, unusable
	}
	return pair{certificate, signer}, nil
}

// serviceAccountKey makes the key that signs ServiceAccount tokens. RSA, as clusters in the field
// mostly have it, so that whoever verifies such tokens meets what it will meet there.
func (p Dir) serviceAccountKey() error {
	if _, err := os.Stat(p.Path("sa.key")); err == nil {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	if err := files.Write(p.Path("sa.pub"), block, 0o600); err != nil {
		return err
	}
	return p.writeKey("sa.key", key)
}
