package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"devcluster/internal/files"
)

func (c *Cluster) server() string {
	return fmt.Sprintf("https://%s:%d", c.host(), c.state.Ports.APIServer)
}

// host returns the address that the API server listens on: loopback, or this machine's end of the
// link to the node, which pods reach too. Nothing listens where others than the two could ask.
func (c *Cluster) host() string {
	if c.state.Node == nil {
		return "127.0.0.1"
	}
	return c.state.Node.HostAddress()
}

// writeKubeconfig writes a kubeconfig that needs no other file, for the holder of one certificate.
func (c *Cluster) writeKubeconfig(file, user string) error {
	var parts [3]string
	for i, name := range []string{"ca.crt", user + ".crt", user + ".key"} {
		data, err := os.ReadFile(c.pki().Path(name))
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
	return files.Write(c.path(file), []byte(text), 0o600)
}

// get asks the API server as admin, and returns what it answered with 200; nil if it did not.
func (c *Cluster) get(path string) []byte {
	pki := c.pki()
	certificate, err := tls.LoadX509KeyPair(pki.Path("admin.crt"), pki.Path("admin.key"))
	if err != nil {
		return nil
	}
	authority, err := os.ReadFile(pki.Path("ca.crt"))
	if err != nil {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return ask(c.server()+path, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}})
}

func ask(url string, trust *tls.Config) []byte {
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true},
	}
	response, err := client.Get(url)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

func (c *Cluster) apiServerReady() bool { return c.get("/readyz") != nil }

// defaultServiceAccountReady holds once namespaces and ServiceAccounts are looked after: from then
// on pods can be made.
func (c *Cluster) defaultServiceAccountReady() bool {
	return c.get("/api/v1/namespaces/default/serviceaccounts/default") != nil
}

func (c *Cluster) etcdReady() bool {
	return ask(loopback(c.state.Ports.EtcdClient)+"/health", nil) != nil
}

func (c *Cluster) schedulerReady() bool {
	// It signs its own certificate, and only whether it answers is asked.
	unverified := &tls.Config{InsecureSkipVerify: true}
	return ask(fmt.Sprintf("https://127.0.0.1:%d/readyz", c.state.Ports.Scheduler), unverified) != nil
}

func (c *Cluster) kubeletReady() bool {
	var found struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if json.Unmarshal(c.get("/api/v1/nodes/"+c.state.Node.Name), &found) != nil {
		return false
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True"
		}
	}
	return false
}

func (c *Cluster) proxyReady() bool {
	return ask("http://"+c.state.Node.Address()+":10256/healthz", nil) != nil
}
