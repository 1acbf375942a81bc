package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"devcluster/internal/files"
	"devcluster/internal/process"
)

// Every node keeps things under these names, which manifests made for real nodes rely on. The sandbox
// lays directories of its own over them, so that nodes do not meet: kept ones out of the cluster's
// directory, and new ones for what a machine forgets when it is switched off.
var (
	kept = map[string]string{
		"/var/lib/cni":        "cni",
		"/var/lib/kubelet":    "kubelet",
		"/var/log/containers": "log-containers",
		"/var/log/pods":       "log-pods",
	}
	forgotten = []string{"/run/containerd", "/run/netns"}
)

// RunSandbox is the first process of the node's namespaces: it sets them up, reaps what is left to
// it, and ends when it is asked to.
func (n Node) RunSandbox(dir string) error {
	if os.Getpid() != 1 {
		return errors.New("the sandbox has to be the first process of its namespace; devcluster up --node starts it so")
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGCHLD)
	if err := n.setUp(dir); err != nil {
		return err
	}
	for got := range signals {
		if got != unix.SIGCHLD {
			return nil
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	return nil
}

func (n Node) setUp(dir string) error {
	if err := unix.Sethostname([]byte(n.Name)); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts cannot be kept apart: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc cannot be mounted: %w", err)
	}
	if err := n.isolateCgroups(); err != nil {
		return err
	}
	for target, source := range kept {
		source = filepath.Join(dir, source)
		for _, path := range []string{source, target} {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s cannot be mounted on %s: %w", source, target, err)
		}
	}
	for _, target := range forgotten {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("%s cannot be mounted: %w", target, err)
		}
	}
	// Pods with mountPropagation Bidirectional, as drivers of volumes are, need it to be shared.
	if err := unix.Mount("", "/var/lib/kubelet", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	// Its process id is another one outside; when it started is the same.
	return files.Write(filepath.Join(dir, "ready"), []byte(process.Self().Started), 0o600)
}

// Clear removes what outlives the sandbox: a link that was never handed to it, and control groups.
func (n Node) Clear(owner string) error {
	return errors.Join(n.unlink(owner), n.removeCgroups())
}
