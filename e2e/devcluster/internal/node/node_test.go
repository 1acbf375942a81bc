package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNodesDoNotShareAddresses(t *testing.T) {
	_, whole, _ := net.ParseCIDR("198.18.0.0/16")
	seen := map[string]int{}
	for number := range numbers {
		node := Node{Number: number}
		_, mine, err := net.ParseCIDR(node.network())
		if err != nil {
			t.Fatal(err)
		}
		_, pods, err := net.ParseCIDR(node.Pods())
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{node.HostAddress(), node.Address(), pods.IP.String()} {
			ip := net.ParseIP(address)
			if !mine.Contains(ip) || !whole.Contains(ip) {
				t.Errorf("node %d: %s is outside %s", number, address, mine)
			}
			if other, taken := seen[address]; taken {
				t.Errorf("nodes %d and %d share %s", other, number, address)
			}
			seen[address] = number
		}
		if pods.Contains(net.ParseIP(node.Address())) || pods.Contains(net.ParseIP(node.HostAddress())) {
			t.Errorf("node %d: the link lies in the network of pods", number)
		}
		// IFNAMSIZ of the kernel, less the final NUL; the node's end has one letter more.
		if len(node.id()+"n") > 15 {
			t.Errorf("node %d: %sn is too long for a link", number, node.id())
		}
	}
}

func TestNetworksInUseAreLeftAlone(t *testing.T) {
	for name, row := range map[string]struct {
		route string
		want  bool
	}{
		"the default route":      {"0.0.0.0/0", false},
		"another network":        {"192.0.2.0/24", false},
		"the neighbour":          {"198.18.2.0/23", false},
		"all of it":              {"198.18.0.0/15", true},
		"a part of it":           {"198.18.1.128/25", true},
		"a single address of it": {"198.18.0.2/32", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, network, err := net.ParseCIDR(row.route)
			if err != nil {
				t.Fatal(err)
			}
			if got := (Node{}).overlaps([]netlink.Route{{}, {Dst: network}}); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func entries(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeSymlink {
			data = []byte("-> " + header.Linkname)
		}
		found[header.Name] = data
	}
}

func TestTheArchiveHoldsTwoImagesOfOneLayer(t *testing.T) {
	archive, err := busyboxArchive([]byte("program"), []string{"busybox", "sh", "nc"})
	if err != nil {
		t.Fatal(err)
	}
	files := entries(t, archive)
	layer := entries(t, files["layer.tar"])
	if string(layer["bin/busybox"]) != "program" || string(layer["bin/nc"]) != "-> busybox" {
		t.Errorf("the layer holds %q", layer)
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(files["layer.tar"])
	tags := map[string]bool{}
	for _, image := range manifest {
		var config struct {
			Rootfs struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(files[image.Config], &config); err != nil {
			t.Fatal(err)
		}
		if got, want := config.Rootfs.DiffIDs, "sha256:"+hex.EncodeToString(digest[:]); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %v, want %s", image.RepoTags, got, want)
		}
		tags[image.RepoTags[0]] = true
	}
	if len(manifest) != 2 || !tags[busyboxImage] || !tags[pauseImage] {
		t.Errorf("the archive holds %v", tags)
	}
}

func TestWhatIsMissingIsNamedWithTheCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Require(false)
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "a node needs root") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), "apt-get install --yes --no-install-recommends containerd") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatNeedsLibrariesIsNoImage(t *testing.T) {
	script := filepath.Join(t.TempDir(), "busybox")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/bin/sh", script, script + "-not-there"} {
		if static(path) {
			t.Errorf("%s was taken for a program that stands alone", path)
		}
	}
}

func TestHierarchiesOfBothVersionsAreFound(t *testing.T) {
	const mountinfo = `25 30 0:23 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
27 25 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
28 30 0:26 / /mnt/cgroup rw,relatime - ext4 /dev/cgroup rw
`
	got := hierarchies(mountinfo)
	if want := []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSocketPathsTooLongAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	err := (Node{}).WriteConfiguration(Paths{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "choose a shorter --dir") {
		t.Errorf("got %v", err)
	}
}
