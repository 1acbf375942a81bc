package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

func (c *Cluster) server() string {
	return fmt.Sprintf("https://127.0.0.1:%d", c.state.Ports.APIServer)
}

// writeKubeconfig writes a kubeconfig that needs no other file, for the holder of one certificate.
func (c *Cluster) writeKubeconfig(file, user string) error {
	var parts [3]string
	for i, name := range []string{"ca.crt", user + ".crt", user + ".key"} {
		data, err := os.ReadFile(c.pki().path(name))
		if err != nil {
			return err
		}
		parts[i] = base64.StdEncoding.EncodeToString(data)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: devcluster
clusters:
  - name: devcluster
    cluster: {server: %q, certificate-authority-data: %s}
users:
  - name: %s
    user: {client-certificate-data: %s, client-key-data: %s}
contexts:
  - name: devcluster
    context: {cluster: devcluster, user: %s}
`, c.server(), parts[0], user, parts[1], parts[2], user)
	return writeFile(c.path(file), []byte(text), 0o600)
}

// get asks the API server as admin, and reports whether it answered 200.
func (c *Cluster) get(path string) bool {
	pki := c.pki()
	certificate, err := tls.LoadX509KeyPair(pki.path("admin.crt"), pki.path("admin.key"))
	if err != nil {
		return false
	}
	authority, err := os.ReadFile(pki.path("ca.crt"))
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
			DisableKeepAlives: true,
		},
	}
	response, err := client.Get(c.server() + path)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (c *Cluster) apiServerReady() bool { return c.get("/readyz") }

// defaultServiceAccountReady holds once namespaces and ServiceAccounts are looked after: from then
// on pods can be made.
func (c *Cluster) defaultServiceAccountReady() bool {
	return c.get("/api/v1/namespaces/default/serviceaccounts/default")
}

func (c *Cluster) etcdReady() bool {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(strings.TrimSuffix(loopback(c.state.Ports.EtcdClient), "/") + "/health")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
