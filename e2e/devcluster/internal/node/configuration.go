package node

import (
	"fmt"
	"os"
	"path/filepath"

	"devcluster/internal/files"
)

// Paths says where a node keeps things, and which of the cluster's files it needs.
type Paths struct {
	Dir, ClientCA, ServerCrt, ServerKey string
}

// WriteConfiguration writes what containerd, its network plugins and the kubelet read.
func (n Node) WriteConfiguration(at Paths) error {
	plugins := filepath.Join(at.Dir, "cni.d")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return err
	}
	// Sockets have short names by nature (unix(7)); say so here rather than in a log.
	if len(socket(at.Dir)) > 100 {
		return fmt.Errorf("%s is too long a path for a socket; choose a shorter --dir", socket(at.Dir))
	}
	for path, text := range map[string]string{
		filepath.Join(at.Dir, "containerd.toml"):     fmt.Sprintf(containerd, at.Dir, socket(at.Dir), pauseImage, Program("runc"), pluginDir(), plugins),
		filepath.Join(plugins, "10-bridge.conflist"): fmt.Sprintf(network, n.Pods()),
		filepath.Join(at.Dir, "kubelet.yaml"):        fmt.Sprintf(kubelet, at.ClientCA, at.ServerCrt, at.ServerKey, socket(at.Dir), filepath.Join(at.Dir, "resolv.conf")),
		filepath.Join(at.Dir, "resolv.conf"):         "",
	} {
		if err := files.Write(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func socket(dir string) string { return filepath.Join(dir, "containerd.sock") }

const containerd = `version = 2
root = "%s/containerd"
state = "/run/containerd"

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  # Where this process may not lower its score, a container's is not lowered either.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    # Copies instead of layers: it works on every file system.
    snapshotter = "native"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = %q
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`

const network = `{
  "cniVersion": "1.0.0",
  "name": "devcluster",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "pods",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

const kubelet = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %q}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
# The kernel and its control groups are this machine's, whatever they are; nothing is reserved,
# evicted or refused on a machine that has other work too.
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
evictionHard: {}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
containerRuntimeEndpoint: "unix://%s"
resolvConf: %q
`
