package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"devcluster/internal/files"
)

const (
	// busyboxImage is there for pods that need a shell and no more; nothing is ever pulled.
	busyboxImage = "localhost/busybox:1"
	// pauseImage holds the namespaces of a pod.
	pauseImage = "localhost/pause:1"
)

// RuntimeReady reports whether containerd answers.
func RuntimeReady(dir string) bool { return ctr(dir, "version") == nil }

// ImportImages gives containerd the images that every node has.
func ImportImages(dir string) error {
	busybox := Program("busybox")
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	listed, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s does not list its applets: %w", busybox, err)
	}
	archive, err := busyboxArchive(program, strings.Fields(string(listed)))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "images.tar")
	if err := files.Write(path, archive, 0o600); err != nil {
		return err
	}
	return ctr(dir, "--namespace", "k8s.io", "images", "import", path)
}

func ctr(dir string, args ...string) error {
	command := exec.Command(Program("ctr"), append([]string{"--address", socket(dir)}, args...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s failed: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// busyboxArchive returns a `docker save` archive of two images that share one layer.
func busyboxArchive(program []byte, applets []string) ([]byte, error) {
	var layer bytes.Buffer
	root := tar.NewWriter(&layer)
	for _, dir := range []string{"bin/", "etc/", "tmp/"} {
		mode := int64(0o755)
		if dir == "tmp/" {
			mode = 0o1777
		}
		if err := root.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode}); err != nil {
			return nil, err
		}
	}
	contents := []content{
		{"bin/busybox", 0o755, program},
		{"etc/passwd", 0o644, []byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")},
		{"etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n")},
	}
	if err := write(root, contents...); err != nil {
		return nil, err
	}
	for _, applet := range applets {
		if applet == "busybox" {
			continue
		}
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}
		if err := root.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	if err := root.Close(); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(layer.Bytes())
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	parts := []content{{"layer.tar", 0o644, layer.Bytes()}}
	for _, image := range []struct {
		name    string
		command []string
	}{{busyboxImage, []string{"sh"}}, {pauseImage, []string{"sleep", "2147483647"}}} {
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH,
			"os":           "linux",
			"config":       map[string]any{"Cmd": image.command, "Env": []string{"PATH=/bin"}},
			"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(digest[:])}},
		})
		if err != nil {
			return nil, err
		}
		file := strings.NewReplacer("/", "-", ":", "-").Replace(image.name) + ".json"
		parts = append(parts, content{file, 0o644, config})
		manifest = append(manifest, entry{Config: file, RepoTags: []string{image.name}, Layers: []string{"layer.tar"}})
	}
	listed, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	whole := tar.NewWriter(&archive)
	if err := write(whole, append(parts, content{"manifest.json", 0o644, listed})...); err != nil {
		return nil, err
	}
	if err := whole.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}

type content struct {
	name string
	mode int64
	data []byte
}

func write(archive *tar.Writer, contents ...content) error {
	for _, each := range contents {
		header := &tar.Header{Name: each.name, Mode: each.mode, Size: int64(len(each.data))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(each.data); err != nil {
			return err
		}
	}
	return nil
}
