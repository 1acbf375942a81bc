package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

// question is what verify is asked.
type question struct {
	chain, bundle, usage, at, crls, ocsp string
}

// finding is what it prints.
type finding struct {
	Error         string   `json:"error"`
	Serial        string   `json:"serial"`
	SPIFFEID      string   `json:"spiffeID"`
	Path          []string `json:"path"`
	Policies      []string `json:"policies"`
	Points        []string `json:"crlDistributionPoints"`
	OCSPServers   []string `json:"ocspServers"`
	CAIssuers     []string `json:"caIssuers"`
	OtherIDs      []string `json:"otherExtensions"`
	OCSP          string   `json:"ocsp"`
	OCSPResponder string   `json:"ocspResponder"`
}

var known = map[string]bool{
	"1.3.6.1.5.5.7.1.1": true, // authorityInfoAccess
	"2.5.29.14":         true, // subjectKeyIdentifier
	"2.5.29.15":         true, // keyUsage
	"2.5.29.17":         true, // subjectAltName
	"2.5.29.19":         true, // basicConstraints
	"2.5.29.31":         true, // cRLDistributionPoints
	"2.5.29.32":         true, // certificatePolicies
	"2.5.29.35":         true, // authorityKeyIdentifier
	"2.5.29.37":         true, // extKeyUsage
}

func (q question) answer() (finding, error) {
	found := finding{}
	chain, err := certificates(q.chain)
	if err != nil {
		return found, err
	}
	roots, err := certificates(q.bundle)
	if err != nil {
		return found, err
	}
	found.describe(chain[0])
	now := time.Now()
	if q.at != "" {
		if now, err = time.Parse(time.RFC3339, q.at); err != nil {
			return found, err
		}
	}
	usage := x509.ExtKeyUsageClientAuth
	if q.usage == "server" {
		usage = x509.ExtKeyUsageServerAuth
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         pool(roots),
		Intermediates: pool(chain[1:]),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return found, err
	}
	path := paths[0]
	for _, each := range path {
		found.Path = append(found.Path, each.Subject.String())
	}
	if q.crls != "" {
		lists, err := revocationLists(q.crls)
		if err != nil {
			return found, err
		}
		if err := notRevoked(path, lists, now); err != nil {
			return found, err
		}
	}
	if q.ocsp != "" {
		return found, found.ask(q.ocsp, path, now)
	}
	return found, nil
}

func (f *finding) describe(leaf *x509.Certificate) {
	f.Serial = fmt.Sprintf("%x", leaf.SerialNumber)
	for _, uri := range leaf.URIs {
		f.SPIFFEID = uri.String()
	}
	for _, policy := range leaf.Policies {
		f.Policies = append(f.Policies, policy.String())
	}
	f.Points = leaf.CRLDistributionPoints
	f.OCSPServers = leaf.OCSPServer
	f.CAIssuers = leaf.IssuingCertificateURL
	for _, extension := range leaf.Extensions {
		if id := extension.Id.String(); !known[id] {
			f.OtherIDs = append(f.OtherIDs, id)
		}
	}
}

func (f *finding) ask(file string, path []*x509.Certificate, now time.Time) error {
	der, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	answer, err := ocsp.ParseResponseForCert(der, path[0], path[1])
	if err != nil {
		return err
	}
	if answer.Certificate != nil {
		f.OCSPResponder = answer.Certificate.Subject.String()
		// ParseResponseForCert has checked its signature and nothing else (RFC 6960 §4.2.2.2).
		if len(answer.Certificate.ExtKeyUsage) != 1 ||
			answer.Certificate.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning {
			return errors.New("the certificate of the responder is not for OCSP")
		}
	}
	if now.Before(answer.ThisUpdate) || now.After(answer.NextUpdate) {
		return errors.New("the OCSP answer is not of this time")
	}
	switch answer.Status {
	case ocsp.Good:
		f.OCSP = "good"
	case ocsp.Revoked:
		f.OCSP = "revoked"
		return fmt.Errorf("revoked at %s for reason %d", answer.RevokedAt.Format(time.RFC3339),
			answer.RevocationReason)
	default:
		f.OCSP = "unknown"
		return errors.New("unknown to the responder")
	}
	return nil
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	made := x509.NewCertPool()
	for _, each := range certificates {
		made.AddCert(each)
	}
	return made
}

func blocks(file, kind string) ([][]byte, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := [][]byte{}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == kind {
			found = append(found, block.Bytes)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no %s", file, strings.ToLower(kind))
	}
	return found, nil
}

func certificates(file string) ([]*x509.Certificate, error) {
	ders, err := blocks(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	found := []*x509.Certificate{}
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	return found, nil
}
