package main

import (
	"fmt"
	"net"
	"strconv"
)

// Ports are chosen once for a cluster and kept, so that its kubeconfig stays good over restarts.
type Ports struct {
	EtcdClient        int `json:"etcdClient"`
	EtcdPeer          int `json:"etcdPeer"`
	APIServer         int `json:"apiServer"`
	ControllerManager int `json:"controllerManager"`
	Scheduler         int `json:"scheduler"`
}

// freePorts asks the kernel for distinct ports that nobody listens on.
func freePorts() (Ports, error) {
	var ports Ports
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	for _, port := range []*int{
		&ports.EtcdClient, &ports.EtcdPeer, &ports.APIServer, &ports.ControllerManager, &ports.Scheduler,
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, fmt.Errorf("no free port on loopback: %w", err)
		}
		listeners = append(listeners, listener)
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func loopback(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }

// controlPlane lists the components that every cluster has, in the order of their start.
func (c *Cluster) controlPlane() []component {
	return []component{
		{name: "etcd", args: c.etcdFlags(), ready: c.etcdReady},
		{name: "kube-apiserver", args: c.apiServerFlags(), ready: c.apiServerReady},
		{name: "kube-controller-manager", args: c.controllerManagerFlags(), ready: c.defaultServiceAccountReady},
	}
}

func (c *Cluster) etcdFlags() []string {
	return []string{
		"--data-dir=" + c.path("etcd"),
		"--client=" + loopback(c.state.Ports.EtcdClient),
		"--peer=" + loopback(c.state.Ports.EtcdPeer),
		"--fsync=" + strconv.FormatBool(c.state.Fsync),
	}
}

func (c *Cluster) apiServerFlags() []string {
	pki := c.pki()
	flags := []string{
		"--etcd-servers=" + loopback(c.state.Ports.EtcdClient),
		"--secure-port=" + strconv.Itoa(c.state.Ports.APIServer),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + c.state.ServiceRange,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki.Path("sa.pub"),
		"--service-account-signing-key-file=" + pki.Path("sa.key"),
		"--client-ca-file=" + pki.Path("ca.crt"),
		"--tls-cert-file=" + pki.Path("kube-apiserver.crt"),
		"--tls-private-key-file=" + pki.Path("kube-apiserver.key"),
		"--kubelet-client-certificate=" + pki.Path("kubelet-client.crt"),
		"--kubelet-client-key=" + pki.Path("kubelet-client.key"),
		"--kubelet-certificate-authority=" + pki.Path("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + pki.Path("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + pki.Path("front-proxy-client.crt"),
		"--proxy-client-key-file=" + pki.Path("front-proxy-client.key"),
		// Tests restart this server; a long drain would only make them wait.
		"--shutdown-delay-duration=0s",
	}
	if c.state.Audit {
		flags = append(flags,
			"--audit-policy-file="+c.path("audit-policy.yaml"), "--audit-log-path="+c.path("logs", "audit.log"))
	}
	if c.state.Node != nil {
		// This machine has no route to a Service's address, so webhooks are called by their pods'.
		return append(flags, "--bind-address="+c.host(), "--advertise-address="+c.host(), "--enable-aggregator-routing=true")
	}
	// No pod has to reach this server, and a loopback address cannot be an endpoint of a Service.
	return append(flags, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none")
}

func (c *Cluster) controllerManagerFlags() []string {
	pki := c.pki()
	return []string{
		"--kubeconfig=" + c.path("controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.state.Ports.ControllerManager),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + pki.Path("sa.key"),
		"--root-ca-file=" + pki.Path("ca.crt"),
		"--cluster-signing-cert-file=" + pki.Path("ca.crt"),
		"--cluster-signing-key-file=" + pki.Path("ca.key"),
		"--leader-elect=false",
		// The benchmark's load is not to wait for the collector's default of 20 requests a second.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	}
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`
