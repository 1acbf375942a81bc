package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a record of a process that this tool started. A process id alone says little, since
// the kernel uses it again; together with the start time it names one process for good.
type Process struct {
	Pid     int    `json:"pid"`
	Started string `json:"started"`
}

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
		if waitFor(step.wait, func() bool { return !p.Alive() }) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end, not even by SIGKILL; see /proc/%d/stack", p.Pid, p.Pid)
}

// spawn starts a program in a session of its own, so that it outlives this tool, with its output
// appended to the log file.
func spawn(log string, argv []string, env []string) (Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Process{}, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Process{}, err
	}
	process := Process{Pid: cmd.Process.Pid, Started: startTime(cmd.Process.Pid)}
	// Reap it if it ends while this tool still runs: a zombie would look alive to others.
	go func() { _ = cmd.Wait() }()
	return process, nil
}

func (c *Cluster) processFile(name string) string { return c.path("pids", name+".json") }

func (c *Cluster) process(name string) Process {
	var process Process
	data, err := os.ReadFile(c.processFile(name))
	if err == nil {
		_ = json.Unmarshal(data, &process)
	}
	return process
}

func (c *Cluster) record(name string, process Process) error {
	data, err := json.Marshal(process)
	if err != nil {
		return err
	}
	return writeFile(c.processFile(name), data, 0o600)
}

// writeFile replaces a file at once, so that a crash leaves the old one or the new one.
func writeFile(path string, data []byte, mode os.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(data); err != nil {
		temporary.Close()
		return err
	}
	if err := errors.Join(temporary.Chmod(mode), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// waitFor polls until the condition holds, and reports whether it did within the time.
func waitFor(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// lastLines returns the end of a log file, for the message about a component that died.
func lastLines(path string, count int) string {
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
