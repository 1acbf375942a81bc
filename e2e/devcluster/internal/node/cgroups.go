package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// daemons is the control group of the node's own processes. They have one beside those of pods, since
// version 2 lets no group have both processes and groups with limits.
const daemons = "daemons"

// hierarchies lists where control groups are mounted, in a text such as /proc/self/mountinfo: one for
// each controller (version 1), one for all (version 2), or both.
func hierarchies(mountinfo string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		mount, source, _ := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if (strings.HasPrefix(source, "cgroup ") || strings.HasPrefix(source, "cgroup2 ")) && len(fields) > 4 {
			found = append(found, fields[4])
		}
	}
	return found
}

// cgroups lists the node's group in each hierarchy.
func (n Node) cgroups() ([]string, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	found := hierarchies(string(mountinfo))
	for i, hierarchy := range found {
		found[i] = filepath.Join(hierarchy, n.id())
	}
	return found, nil
}

// makeCgroups makes the groups below which lie all that kubelet and containers make.
func (n Node) makeCgroups() error {
	groups, err := n.cgroups()
	if err != nil {
		return err
	}
	for _, group := range groups {
		for _, path := range []string{group, filepath.Join(group, daemons)} {
			if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("control groups cannot be made: %w", err)
			}
			// In version 1 these start empty, and nothing may join before they are set.
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := inherit(path, file); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func inherit(group, file string) error {
	above, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
	if err != nil {
		return nil // not a hierarchy that has it
	}
	own, err := os.ReadFile(filepath.Join(group, file))
	if err != nil || len(bytes.TrimSpace(own)) > 0 {
		return err
	}
	return os.WriteFile(filepath.Join(group, file), above, 0o644)
}

// Enlist moves a process of the node into its control groups.
func (n Node) Enlist(pid int) error {
	groups, err := n.cgroups()
	if err != nil {
		return err
	}
	return enter(groups, daemons, pid)
}

func enter(groups []string, below string, pid int) error {
	for _, group := range groups {
		procs := filepath.Join(group, below, "cgroup.procs")
		if err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("process %d cannot join its control group: %w", pid, err)
		}
	}
	return nil
}

// isolateCgroups lets this process see the node's group as the root of all, so that whatever is made
// inside is made below it. A thread leaves a namespace alone, and others join those of the first one:
// it has to be called there.
func (n Node) isolateCgroups() error {
	groups, err := n.cgroups()
	if err != nil {
		return err
	}
	const self = 0
	if err := enter(groups, "", self); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("control groups cannot be kept apart: %w", err)
	}
	if err := enter(groups, daemons, self); err != nil {
		return err
	}
	for _, group := range groups {
		if err := unix.Mount(group, filepath.Dir(group), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s cannot be mounted: %w", group, err)
		}
	}
	return nil
}

func (n Node) removeCgroups() error {
	groups, err := n.cgroups()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(letGo)
	for _, group := range groups {
		var paths []string
		_ = filepath.WalkDir(group, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				paths = append(paths, path)
			}
			return nil
		})
		for i := len(paths) - 1; i >= 0; i-- {
			if rmdir := removeUntil(deadline, paths[i]); rmdir != nil && !errors.Is(rmdir, unix.ENOENT) {
				err = errors.Join(err, fmt.Errorf("control group %s cannot be removed: %w", paths[i], rmdir))
			}
		}
	}
	return err
}

// letGo is how long the kernel may go on to call groups busy whose last process has ended.
const letGo = 20 * time.Second

func removeUntil(deadline time.Time, group string) error {
	for {
		err := unix.Rmdir(group)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
