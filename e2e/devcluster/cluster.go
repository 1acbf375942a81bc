package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"devcluster/internal/files"
	"devcluster/internal/node"
	"devcluster/internal/pki"
	"devcluster/internal/process"
)

const (
	// startLimit is far above the second or two that a component takes on an idle machine.
	startLimit = 90 * time.Second
	stopGrace  = 5 * time.Second
)

// Options are what a person asks of `up`.
type Options struct {
	Fsync, Audit, Node, InstallPackages bool
}

// State is what a cluster remembers from one start to the next.
type State struct {
	Ports        Ports      `json:"ports"`
	Fsync        bool       `json:"fsync"`
	Audit        bool       `json:"audit"`
	ServiceRange string     `json:"serviceRange"`
	Node         *node.Node `json:"node,omitempty"`
}

// Cluster is one directory and everything that runs out of it.
type Cluster struct {
	dir   string
	state State
}

type component struct {
	name  string
	argv  []string // a program of its own; empty for a part of this one
	args  []string
	env   []string
	ready func() bool
	// namespaces are those made for it; onNode says that it runs in the node's.
	namespaces uintptr
	onNode     bool
	// settle does what has to be done once it is ready, before the next one starts.
	settle func() error
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c *Cluster) pki() pki.Dir { return pki.Dir{Root: c.path("pki")} }

// withCluster runs one command alone: two at once in one directory would race for its processes.
func withCluster(dir string, run func(*Cluster) error) error {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	cluster := &Cluster{dir: absolute}
	if err := os.MkdirAll(cluster.path("pids"), 0o700); err != nil {
		return fmt.Errorf("the cluster's directory cannot be made: %w", err)
	}
	lock, err := os.OpenFile(cluster.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	data, err := os.ReadFile(cluster.path("state.json"))
	if err == nil {
		if err := json.Unmarshal(data, &cluster.state); err != nil {
			return fmt.Errorf("%s is unreadable (%w); remove the directory once nothing runs out of it", cluster.path("state.json"), err)
		}
	}
	return run(cluster)
}

func (c *Cluster) save() error {
	data, err := json.MarshalIndent(c.state, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(c.path("state.json"), append(data, '\n'), 0o600)
}

func (c *Cluster) components() []component {
	if c.state.Node == nil {
		return c.controlPlane()
	}
	// The API server listens on the address that the sandbox brings.
	parts := append([]component{c.sandbox()}, c.controlPlane()...)
	return append(parts, c.nodeComponents()...)
}

// Up starts what is not running, and keeps what is.
func (c *Cluster) Up(options Options) error {
	began := time.Now()
	if err := c.prepare(options); err != nil {
		return err
	}
	started := 0
	for _, part := range c.components() {
		if c.process(part.name).Alive() {
			continue
		}
		if err := c.start(part); err != nil {
			return err
		}
		started++
	}
	if err := c.writeKubeconfig("kubeconfig", "admin"); err != nil {
		return err
	}
	if started == 0 {
		fmt.Printf("The cluster is up already; its kubeconfig is %s\n", c.path("kubeconfig"))
		return nil
	}
	fmt.Printf("The cluster is up after %.1f s; its kubeconfig is %s\n", time.Since(began).Seconds(), c.path("kubeconfig"))
	return nil
}

func (c *Cluster) anyAlive() bool {
	for _, part := range c.components() {
		if c.process(part.name).Alive() {
			return true
		}
	}
	return false
}

func (c *Cluster) prepare(options Options) error {
	if c.state.Ports.APIServer != 0 && c.anyAlive() {
		if options.Fsync != c.state.Fsync || options.Audit != c.state.Audit || options.Node != (c.state.Node != nil) {
			return errors.New("the cluster runs with other options; end it first: devcluster down --dir " + c.dir)
		}
		return nil
	}
	if err := os.MkdirAll(c.path("logs"), 0o700); err != nil {
		return err
	}
	if !c.portsFree() {
		ports, err := freePorts()
		if err != nil {
			return err
		}
		c.state.Ports = ports
	}
	c.state.Fsync, c.state.Audit, c.state.ServiceRange = options.Fsync, options.Audit, "10.96.0.0/16"
	if err := c.prepareNode(options); err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	if err := files.Write(c.path("audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	if err := c.pki().Ensure(c.leaves()); err != nil {
		return err
	}
	users := []string{"controller-manager"}
	if c.state.Node != nil {
		users = append(users, "scheduler", "kubelet", "kube-proxy")
	}
	for _, user := range users {
		if err := c.writeKubeconfig(user+".kubeconfig", user); err != nil {
			return err
		}
	}
	return nil
}

// portsFree reports whether the ports of the last start can be taken again.
func (c *Cluster) portsFree() bool {
	if c.state.Ports.APIServer == 0 {
		return false
	}
	for _, port := range []int{c.state.Ports.APIServer, c.state.Ports.EtcdClient, c.state.Ports.EtcdPeer, c.state.Ports.ControllerManager} {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}

func (c *Cluster) leaves() []pki.Leaf {
	addresses := []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("10.96.0.1")}
	if c.state.Node != nil {
		addresses = append(addresses, net.ParseIP(c.state.Node.HostAddress()))
	}
	leaves := []pki.Leaf{
		{
			Name: "kube-apiserver", User: "kube-apiserver", Addresses: addresses,
			DNS: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		},
		{Name: "admin", User: "devcluster-admin", Groups: []string{"system:masters"}},
		{Name: "controller-manager", User: "system:kube-controller-manager"},
		{Name: "scheduler", User: "system:kube-scheduler"},
		{Name: "kube-proxy", User: "system:kube-proxy"},
		{Name: "kubelet-client", User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	}
	if own := c.state.Node; own != nil {
		leaves = append(leaves, pki.Leaf{
			Name: "kubelet", User: "system:node:" + own.Name, Groups: []string{"system:nodes"},
			DNS: []string{own.Name}, Addresses: []net.IP{net.ParseIP(own.Address())},
		})
	}
	return leaves
}

func (c *Cluster) start(part component) error {
	argv := part.argv
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		argv = []string{self, "component", part.name}
	}
	log := c.path("logs", part.name+".log")
	launch := process.Launch{Argv: append(argv, part.args...), Env: part.env, Log: log, Namespaces: part.namespaces}
	if part.onNode {
		sandbox := c.process(sandboxName)
		launch.Inside = &sandbox
	}
	started, err := launch.Start()
	if err != nil {
		return fmt.Errorf("%s cannot be started: %w", part.name, err)
	}
	if err := c.record(part.name, started); err != nil {
		return errors.Join(err, started.End(stopGrace))
	}
	if part.onNode {
		if err := c.state.Node.Enlist(started.Pid); err != nil {
			return errors.Join(err, started.End(stopGrace))
		}
	}
	died := false
	ok := process.WaitFor(startLimit, func() bool {
		died = !started.Alive()
		return died || part.ready == nil || part.ready()
	})
	switch {
	case died:
		return fmt.Errorf("%s ended as it started; the end of %s:\n%s", part.name, log, process.LastLines(log, 12))
	case !ok:
		return fmt.Errorf("%s was not ready within %s; the end of %s:\n%s", part.name, startLimit, log, process.LastLines(log, 12))
	}
	if part.settle != nil {
		return part.settle()
	}
	return nil
}

// Down ends everything, the last started first.
func (c *Cluster) Down(purge bool) error {
	var faults []error
	parts := c.components()
	for i := len(parts) - 1; i >= 0; i-- {
		if err := c.process(parts[i].name).End(stopGrace); err != nil {
			faults = append(faults, err)
			continue
		}
		os.Remove(c.processFile(parts[i].name))
	}
	if c.state.Node != nil {
		faults = append(faults, c.state.Node.Clear(c.dir))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if purge {
		return os.RemoveAll(c.dir)
	}
	return nil
}

func (c *Cluster) find(name string) (component, error) {
	var names []string
	for _, part := range c.components() {
		if part.name == name {
			return part, nil
		}
		names = append(names, part.name)
	}
	return component{}, fmt.Errorf("this cluster has no component %q; it has %s", name, strings.Join(names, ", "))
}

// StopComponent ends one component and leaves the others.
func (c *Cluster) StopComponent(name string, kill bool) error {
	part, err := c.find(name)
	if err != nil {
		return err
	}
	grace := stopGrace
	if kill {
		grace = 0
	}
	return c.process(part.name).End(grace)
}

// StartComponent starts one component that was ended.
func (c *Cluster) StartComponent(name string) error {
	part, err := c.find(name)
	if err != nil {
		return err
	}
	if c.process(part.name).Alive() {
		return nil
	}
	return c.start(part)
}

// Status prints a line for each component.
func (c *Cluster) Status() error {
	if c.state.Ports.APIServer == 0 {
		return errors.New("no cluster has been started in " + c.dir)
	}
	missing := 0
	for _, part := range c.components() {
		running := c.process(part.name)
		if running.Alive() {
			fmt.Printf("%-24s running, process %d\n", part.name, running.Pid)
			continue
		}
		fmt.Printf("%-24s not running\n", part.name)
		missing++
	}
	if missing > 0 {
		return fmt.Errorf("%d components do not run; start them: devcluster up --dir %s", missing, c.dir)
	}
	return nil
}

func (c *Cluster) processFile(name string) string { return c.path("pids", name+".json") }

func (c *Cluster) process(name string) process.Process {
	var recorded process.Process
	data, err := os.ReadFile(c.processFile(name))
	if err == nil {
		_ = json.Unmarshal(data, &recorded)
	}
	return recorded
}

func (c *Cluster) record(name string, started process.Process) error {
	data, err := json.Marshal(started)
	if err != nil {
		return err
	}
	return files.Write(c.processFile(name), data, 0o600)
}
