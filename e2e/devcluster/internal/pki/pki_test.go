package pki

import (
	"bytes"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
)

func serve(address string) []Leaf {
	return []Leaf{{Name: "server", User: "kube-apiserver", DNS: []string{"kubernetes"}, Addresses: []net.IP{net.ParseIP(address)}}}
}

func read(t *testing.T, dir Dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(dir.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLeavesAreGoodForStrictVerifiers(t *testing.T) {
	dir := Dir{t.TempDir()}
	if err := dir.Ensure(serve("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	authority, err := dir.load("ca")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := dir.load("server")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	if _, err := leaf.certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: "kubernetes"}); err != nil {
		t.Error(err)
	}
	if len(authority.certificate.SubjectKeyId) == 0 || authority.certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Error("the authority lacks what strict verifiers ask for")
	}
	if !bytes.Equal(leaf.certificate.AuthorityKeyId, authority.certificate.SubjectKeyId) {
		t.Error("the leaf does not name its authority's key")
	}
}

func TestWhatIsThereIsKeptAndAnotherAddressGetsAnotherCertificate(t *testing.T) {
	dir := Dir{t.TempDir()}
	if err := dir.Ensure(serve("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	authority, leaf := read(t, dir, "ca.crt"), read(t, dir, "server.crt")
	if err := dir.Ensure(serve("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(leaf, read(t, dir, "server.crt")) {
		t.Error("a certificate was made anew without need")
	}
	if err := dir.Ensure(serve("198.18.0.1")); err != nil {
		t.Fatal(err)
	}
	made, err := dir.load("server")
	if err != nil {
		t.Fatal(err)
	}
	if err := made.certificate.VerifyHostname("198.18.0.1"); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(authority, read(t, dir, "ca.crt")) {
		t.Error("the authority was made anew")
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	dir := Dir{t.TempDir()}
	if err := dir.Ensure(nil); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"truncated": read(t, dir, "ca.crt")[:90], "no PEM": []byte("x"), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(dir.Path("ca.crt"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			err := dir.Ensure(nil)
			if err == nil || !strings.Contains(err.Error(), dir.Path("ca.crt")+" and its key are unusable") {
				t.Errorf("got %v", err)
			}
		})
	}
}
