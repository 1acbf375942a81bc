package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func stat(name, state, started string) string {
	return fmt.Sprintf("4711 (%s) %s %s %s 0 0", name, state, strings.Repeat("1 ", 17)+"1", started)
}

func TestStartTimeOf(t *testing.T) {
	for name, row := range map[string]struct{ line, want string }{
		"plain":                       {stat("etcd", "S", "8899"), "8899"},
		"blanks and parentheses":      {stat("a) R (b c", "S", "8899"), "8899"},
		"only a zombie is left":       {stat("etcd", "Z", "8899"), ""},
		"dead":                        {stat("etcd", "X", "8899"), ""},
		"cut short":                   {"4711 (etcd) S 1 1", ""},
		"not a line of this file":     {"", ""},
		"a name that never ends here": {"4711 (etcd S 1 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := startTimeOf(row.line); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func launch(t *testing.T, script string) (Process, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	started, err := Launch{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"GREETING=hello"}, Log: log}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.End(0) })
	return started, log
}

func logged(t *testing.T, log, text string) {
	t.Helper()
	if !WaitFor(5*time.Second, func() bool { return strings.Contains(LastLines(log, 9), text) }) {
		t.Fatalf("%q was not logged:\n%s", text, LastLines(log, 9))
	}
}

func TestEndAsksFirst(t *testing.T) {
	started, log := launch(t, `trap 'echo asked; exit 0' TERM; echo $GREETING; while :; do sleep 0.05; done`)
	logged(t, log, "hello")
	if err := started.End(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	logged(t, log, "asked")
	if started.Alive() {
		t.Error("it still runs")
	}
}

func TestEndMakesWhatDoesNotListen(t *testing.T) {
	started, log := launch(t, `trap '' TERM; echo ready; while :; do sleep 0.05; done`)
	logged(t, log, "ready")
	if err := started.End(200 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if started.Alive() {
		t.Error("it still runs")
	}
}

func TestEndLeavesAnotherOfTheSameIDAlone(t *testing.T) {
	started, log := launch(t, `echo ready; exec sleep 100`)
	logged(t, log, "ready")
	former := Process{Pid: started.Pid, Started: "1"}
	if former.Alive() {
		t.Error("a process that started at another time was taken for it")
	}
	if err := former.End(time.Second); err != nil {
		t.Fatal(err)
	}
	if !started.Alive() {
		t.Error("the process that has the id now was ended")
	}
	if (Process{}).Alive() {
		t.Error("no process at all was taken for one")
	}
}

func TestStartInNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only the refusal is tried: namespaces need root")
		if _, err := (Launch{Argv: []string{"/bin/true"}, Log: os.DevNull, Namespaces: Isolated}).Start(); err == nil {
			t.Error("namespaces were made without root")
		}
		return
	}
	// Before the start: the thread that enters the namespaces may be the one that /proc/self shows.
	mine := map[string]string{}
	for _, kind := range []string{"mnt", "net", "pid", "uts", "ipc"} {
		mine[kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	first, err := Launch{Argv: []string{"/bin/sh", "-c", "echo pid $$; exec sleep 100"}, Log: log, Namespaces: Isolated}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.End(0) })
	logged(t, log, "pid 1")
	second, err := Launch{Argv: []string{"/bin/sh", "-c", "readlink /proc/self/ns/net; exec sleep 100"}, Log: filepath.Join(dir, "second"), Inside: &first}.Start()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"mnt", "net", "pid", "uts", "ipc"} {
		one, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", first.Pid, kind))
		other, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", second.Pid, kind))
		if one != other || one == mine[kind] || one == "" {
			t.Errorf("%s: first in %s, second in %s, this process in %s", kind, one, other, mine[kind])
		}
	}
	if err := first.End(0); err != nil {
		t.Fatal(err)
	}
	if !WaitFor(5*time.Second, func() bool { return !second.Alive() }) {
		t.Error("the second outlived the first process of its namespace")
	}
	if _, err := (Launch{Argv: []string{"/bin/true"}, Log: log, Inside: &first}).Start(); err == nil {
		t.Error("a process was started in namespaces that are gone")
	}
}

func TestLastLines(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("one\ntwo\n"+strings.Repeat("x", 500)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := LastLines(log, 2), "  two\n  "+strings.Repeat("x", 400)+"…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := LastLines(log+"s", 2); got != "" {
		t.Errorf("a log that is not there has lines: %q", got)
	}
}
