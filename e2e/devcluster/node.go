package main

import (
	"os"
	"strconv"

	"devcluster/internal/node"
	"devcluster/internal/process"
)

const (
	sandboxName = "sandbox"
	nodeName    = "devcluster"
)

// prepareNode makes sure of what a node needs, and writes its configuration.
func (c *Cluster) prepareNode(options Options) error {
	number := -1
	if former := c.state.Node; former != nil {
		// It may have been killed, and its number may be another's by now.
		if err := former.Clear(c.dir); err != nil {
			return err
		}
		number = former.Number
	}
	if !options.Node {
		c.state.Node = nil
		return nil
	}
	if err := node.Require(options.InstallPackages); err != nil {
		return err
	}
	own, err := node.Claim(c.dir, nodeName, number)
	if err != nil {
		return err
	}
	c.state.Node = &own
	pki := c.pki()
	return own.WriteConfiguration(node.Paths{
		Dir:       c.path("node"),
		ClientCA:  pki.Path("ca.crt"),
		ServerCrt: pki.Path("kubelet.crt"),
		ServerKey: pki.Path("kubelet.key"),
	})
}

// sandbox is the first process of the node's namespaces, and ends everything in them with itself.
func (c *Cluster) sandbox() component {
	mark := c.path("node", "ready")
	return component{
		name:       sandboxName,
		args:       []string{c.path("node"), c.state.Node.Name, strconv.Itoa(c.state.Node.Number)},
		namespaces: process.Isolated,
		ready: func() bool {
			started, err := os.ReadFile(mark)
			return err == nil && string(started) == c.process(sandboxName).Started
		},
		settle: func() error { return c.state.Node.Connect(c.dir, c.process(sandboxName).Pid) },
	}
}

func (c *Cluster) nodeComponents() []component {
	own, dir := c.state.Node, c.path("node")
	env := []string{"PATH=" + node.SearchPath()}
	return []component{
		{
			name: "kube-scheduler",
			args: []string{
				"--kubeconfig=" + c.path("scheduler.kubeconfig"),
				"--authentication-kubeconfig=" + c.path("scheduler.kubeconfig"),
				"--authorization-kubeconfig=" + c.path("scheduler.kubeconfig"),
				"--bind-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(c.state.Ports.Scheduler),
				"--leader-elect=false",
			},
			ready: c.schedulerReady,
		},
		{
			name:   "containerd",
			argv:   []string{node.Program("containerd"), "--config", c.path("node", "containerd.toml")},
			env:    env,
			onNode: true,
			ready:  func() bool { return node.RuntimeReady(dir) },
			settle: func() error { return node.ImportImages(dir) },
		},
		{
			name: "kubelet",
			args: []string{
				"--config=" + c.path("node", "kubelet.yaml"),
				"--kubeconfig=" + c.path("kubelet.kubeconfig"),
				"--hostname-override=" + own.Name,
				"--node-ip=" + own.Address(),
			},
			env:    env,
			onNode: true,
			ready:  c.kubeletReady,
		},
		{
			name: "kube-proxy",
			args: []string{
				"--kubeconfig=" + c.path("kube-proxy.kubeconfig"),
				"--hostname-override=" + own.Name,
				"--proxy-mode=iptables",
				"--cluster-cidr=" + own.Pods(),
				// An answer from a pod on the same bridge would else pass the translation by.
				"--masquerade-all=true",
				"--iptables-localhost-nodeports=false",
				"--conntrack-max-per-core=0",
				"--conntrack-tcp-timeout-established=0s",
				"--conntrack-tcp-timeout-close-wait=0s",
				"--bind-address=" + own.Address(),
				"--healthz-bind-address=" + own.Address() + ":10256",
				"--metrics-bind-address=127.0.0.1:10249",
			},
			env:    env,
			onNode: true,
			ready:  c.proxyReady,
		},
	}
}
