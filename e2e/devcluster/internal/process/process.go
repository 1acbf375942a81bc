// Package process starts programs that outlive this one, and ends them again.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a record of a process that this tool started. A process id alone says little, since
// the kernel uses it again; together with the start time it names one process for good.
type Process struct {
	Pid     int    `json:"pid"`
	Started string `json:"started"`
}

// Self is the process that asks.
func Self() Process { return Process{Pid: os.Getpid(), Started: startTime(os.Getpid())} }

// startTime returns field 22 of /proc/PID/stat, in clock ticks since boot, or "" if the process is
// gone or only a zombie is left of it.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return startTimeOf(string(data))
}

// startTimeOf reads the start time out of a line of /proc/PID/stat. The second field, the name in
// parentheses, may itself hold blanks and parentheses.
func startTimeOf(stat string) string {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return ""
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// Alive reports whether exactly this process still runs.
func (p Process) Alive() bool {
	return p.Started != "" && startTime(p.Pid) == p.Started
}

// End asks the process to end and, after the grace, makes it.
func (p Process) End(grace time.Duration) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 5 * time.Second}} {
		if !p.Alive() {
			return nil
		}
		if step.wait == 0 {
			continue
		}
		if err := syscall.Kill(p.Pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d cannot be ended: %w", p.Pid, err)
		}
		if WaitFor(step.wait, func() bool { return !p.Alive() }) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end, not even by SIGKILL; see /proc/%d/stack", p.Pid, p.Pid)
}

// Launch describes a program to start.
type Launch struct {
	Argv []string
	Env  []string // beside the environment of this tool
	Log  string   // the file that its output is appended to
	// Namespaces are clone(2) flags of those that are made for it.
	Namespaces uintptr
	// Inside is a process whose namespaces it runs in; nil for those of this tool.
	Inside *Process
}

// Start starts the program in a session of its own, so that it outlives this tool.
func (l Launch) Start() (Process, error) {
	out, err := os.OpenFile(l.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Process{}, err
	}
	defer out.Close()
	cmd := exec.Command(l.Argv[0], l.Argv[1:]...)
	cmd.Env = append(os.Environ(), l.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: l.Namespaces}
	start := cmd.Start
	if l.Inside != nil {
		start = func() error { return startInside(cmd, *l.Inside) }
	}
	if err := start(); err != nil {
		return Process{}, err
	}
	process := Process{Pid: cmd.Process.Pid, Started: startTime(cmd.Process.Pid)}
	// Reap it if it ends while this tool still runs: a zombie would look alive to others.
	go func() { _ = cmd.Wait() }()
	return process, nil
}

// startInside starts a command from a thread that has joined the namespaces of a process.
func startInside(cmd *exec.Cmd, process Process) error {
	result := make(chan error)
	go func() {
		// Never unlocked: a thread that has left the others' namespaces must end with its goroutine.
		runtime.LockOSThread()
		result <- func() error {
			fd, err := unix.PidfdOpen(process.Pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if !process.Alive() {
				return fmt.Errorf("process %d, whose namespaces it is to run in, is gone", process.Pid)
			}
			// A mount namespace is joined only by a thread that shares its root and working directory
			// with no other.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(fd, Isolated|unix.CLONE_NEWCGROUP); err != nil {
				return fmt.Errorf("the namespaces of process %d cannot be joined: %w", process.Pid, err)
			}
			return cmd.Start()
		}()
	}()
	return <-result
}

// Isolated names the namespaces that a node is started with. It makes one more by itself, of control
// groups, once it is in its own. When the first process in its process
// namespace ends, the kernel ends all others in it, and takes down their mounts and links.
const Isolated = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// WaitFor polls until the condition holds, and reports whether it did within the time.
func WaitFor(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// LastLines returns the end of a log file, for the message about a component that died.
func LastLines(path string, count int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	for i, line := range lines {
		if len(line) > 400 {
			lines[i] = line[:400] + "…"
		}
	}
	return "  " + strings.Join(lines, "\n  ")
}
