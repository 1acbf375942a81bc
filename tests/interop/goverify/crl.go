package main

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

var idIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// distributionPoint is an IssuingDistributionPoint (RFC 5280 §5.2.5) that names one URI.
type distributionPoint struct {
	Name          asn1.RawValue `asn1:"optional,tag:0"`
	OnlyUserCerts bool          `asn1:"optional,tag:1"`
	OnlyCACerts   bool          `asn1:"optional,tag:2"`
}

// list is a CRL and what it is about.
type list struct {
	*x509.RevocationList
	uri       string
	onlyUsers bool
}

func revocationLists(file string) ([]list, error) {
	ders, err := blocks(file, "X509 CRL")
	if err != nil {
		return nil, err
	}
	found := []list{}
	for _, der := range ders {
		parsed, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, err
		}
		made := list{RevocationList: parsed}
		for _, extension := range parsed.Extensions {
			switch {
			case extension.Id.Equal(idIssuingDistributionPoint):
				if made.uri, made.onlyUsers, err = point(extension.Value); err != nil {
					return nil, err
				}
			case extension.Critical:
				return nil, fmt.Errorf("a CRL has the critical extension %s", extension.Id)
			}
		}
		found = append(found, made)
	}
	return found, nil
}

// point reads the extension; anything in it but one URI and onlyContainsUserCerts is refused.
func point(der []byte) (string, bool, error) {
	read := distributionPoint{}
	if rest, err := asn1.Unmarshal(der, &read); err != nil || len(rest) > 0 {
		return "", false, errors.Join(errors.New("issuingDistributionPoint"), err)
	}
	var fullName, uri asn1.RawValue
	if _, err := asn1.UnmarshalWithParams(read.Name.Bytes, &fullName, "tag:0"); err != nil {
		return "", false, err
	}
	if rest, err := asn1.Unmarshal(fullName.Bytes, &uri); err != nil || len(rest) > 0 {
		return "", false, errors.Join(errors.New("issuingDistributionPoint: names"), err)
	}
	if uri.Tag != 6 || read.OnlyCACerts {
		return "", false, errors.New("issuingDistributionPoint of another kind")
	}
	return string(uri.Bytes), read.OnlyUserCerts, nil
}

// notRevoked looks every certificate of a path up but the root, and asks for a CRL for each.
func notRevoked(path []*x509.Certificate, lists []list, now time.Time) error {
	for at, subject := range path[:len(path)-1] {
		if err := lookUp(subject, path[at+1], lists, now); err != nil {
			return err
		}
	}
	return nil
}

func lookUp(subject, issuer *x509.Certificate, lists []list, now time.Time) error {
	why := errors.New("no CRL is about it")
	for _, each := range lists {
		if each.uri != "" && !slices.Contains(subject.CRLDistributionPoints, each.uri) {
			continue
		}
		if each.onlyUsers && subject.IsCA {
			continue
		}
		if err := each.CheckSignatureFrom(issuer); err != nil {
			continue
		}
		if now.Before(each.ThisUpdate) || now.After(each.NextUpdate) {
			why = errors.New("its CRL is not of this time")
			continue
		}
		for _, entry := range each.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(subject.SerialNumber) == 0 {
				return fmt.Errorf("%s is revoked for reason %d", subject.Subject, entry.ReasonCode)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %w", subject.Subject, why)
}
