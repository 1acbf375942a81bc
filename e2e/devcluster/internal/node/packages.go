package node

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pluginDirs are where Debian and everybody else keep CNI plugins.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

// SearchPath is PATH with the directories of root, which the PATH of a user may leave out.
func SearchPath() string {
	return strings.Join([]string{os.Getenv("PATH"), "/usr/local/sbin", "/usr/sbin", "/sbin"}, ":")
}

// Program returns the path of a program, or its bare name if it is nowhere.
func Program(name string) string {
	for _, dir := range filepath.SplitList(SearchPath()) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return name
}

func has(name string) bool { return filepath.IsAbs(Program(name)) }

func pluginDir() string {
	for _, dir := range pluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// static reports whether a program needs no library, so that it can be all there is in an image.
func static(path string) bool {
	program, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

// missingPackages names the Debian packages of what a node needs and this machine lacks.
func missingPackages() []string {
	var missing []string
	for _, need := range []struct {
		present bool
		name    string
	}{
		{has("containerd") && has("ctr"), "containerd"},
		{has("runc"), "runc"},
		{pluginDir() != "", "containernetworking-plugins"},
		{has("iptables"), "iptables"},
		{static(Program("busybox")), "busybox-static"},
	} {
		if !need.present {
			missing = append(missing, need.name)
		}
	}
	return missing
}

// Require makes sure that this machine can carry a node, and installs what it lacks if it may.
func Require(install bool) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root, for namespaces and mounts: run as root, or leave --node out")
	}
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	command := "apt-get install --yes --no-install-recommends " + strings.Join(missing, " ")
	if !install {
		return fmt.Errorf("a node needs Debian packages that are not installed: %s\n  Install them: %s\n  Or let devcluster do so: --install-packages",
			strings.Join(missing, ", "), command)
	}
	fmt.Fprintln(os.Stderr, "Installing:", command)
	if aptGet(append([]string{"install", "--yes", "--no-install-recommends"}, missing...)...) == nil {
		return nil
	}
	// A machine that is new has no list of packages yet.
	if err := aptGet("update"); err != nil {
		return fmt.Errorf("apt-get update failed: %w", err)
	}
	if err := aptGet(append([]string{"install", "--yes", "--no-install-recommends"}, missing...)...); err != nil {
		return fmt.Errorf("%s failed: %w", command, err)
	}
	return nil
}

func aptGet(args ...string) error {
	command := exec.Command("apt-get", append([]string{"--quiet"}, args...)...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	return command.Run()
}
