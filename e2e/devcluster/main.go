// Command devcluster is a whole Kubernetes in one program: etcd, the control plane and, where
// asked for, a node. It is made for tests, benchmarks and demonstrations on one machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
)

func init() {
	if len(os.Args) > 2 && os.Args[1] == "component" && os.Args[2] == sandboxName {
		// Others join the namespaces of a process's first thread, so main has to run on it.
		runtime.LockOSThread()
	}
}

func main() {
	// kubectl and the components parse their own flags, so they are reached before ours are.
	if len(os.Args) > 1 && os.Args[1] == "kubectl" {
		os.Args = os.Args[1:]
		os.Exit(cli.Run(kubectl.NewDefaultKubectlCommand()))
	}
	if len(os.Args) > 2 && os.Args[1] == "component" {
		os.Exit(runComponent(os.Args[2], os.Args[3:]))
	}
	if err := rootCommand().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "devcluster: %v\n", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var dir string
	root := &cobra.Command{
		Use:           "devcluster",
		Short:         "A real Kubernetes control plane, and a node if asked for, on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&dir, "dir", ".cluster", "where the cluster keeps its state")

	var options Options
	up := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, or what of it is not running",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withCluster(dir, func(c *Cluster) error { return c.Up(options) })
		},
	}
	up.Flags().BoolVar(&options.Fsync, "fsync", false, "make etcd durable, as a benchmark needs it")
	up.Flags().BoolVar(&options.Audit, "audit", false, "write every request to logs/audit.log")
	up.Flags().BoolVar(&options.Node, "node", false, "run a node as well: containerd, kubelet, kube-proxy (root)")
	up.Flags().BoolVar(&options.InstallPackages, "install-packages", false, "install the Debian packages that a node lacks")

	var purge bool
	down := &cobra.Command{
		Use:   "down",
		Short: "End everything the cluster started",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withCluster(dir, func(c *Cluster) error { return c.Down(purge) })
		},
	}
	down.Flags().BoolVar(&purge, "purge", false, "remove the directory as well")

	var kill bool
	stop := &cobra.Command{
		Use:   "stop COMPONENT",
		Short: "End one component, for tests of faults",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withCluster(dir, func(c *Cluster) error { return c.StopComponent(args[0], kill) })
		},
	}
	stop.Flags().BoolVar(&kill, "kill", false, "by SIGKILL")
	start := &cobra.Command{
		Use:   "start COMPONENT",
		Short: "Start a component that was ended",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withCluster(dir, func(c *Cluster) error { return c.StartComponent(args[0]) })
		},
	}
	status := &cobra.Command{
		Use:   "status",
		Short: "Say which components run; exit 1 if one does not",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return withCluster(dir, (*Cluster).Status) },
	}
	kubeconfig := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the admin kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return withCluster(dir, func(c *Cluster) error {
				path := c.path("kubeconfig")
				if _, err := os.Stat(path); err != nil {
					return errors.New("no cluster has been started in " + c.dir + "; run: devcluster up --dir " + dir)
				}
				fmt.Println(path)
				return nil
			})
		},
	}
	root.AddCommand(up, down, stop, start, status, kubeconfig)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}
