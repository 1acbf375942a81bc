package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"devcluster/internal/node"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// runComponent turns this process into one component of the cluster.
func runComponent(name string, args []string) int {
	var command *cobra.Command
	switch name {
	case sandboxName:
		return runSandbox(args)
	case "etcd":
		command = etcdCommand()
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kubelet":
		command = kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		command = proxy.NewProxyCommand()
	default:
		fmt.Fprintf(os.Stderr, "devcluster: no component is called %q\n", name)
		return 2
	}
	command.SetArgs(args)
	return cli.Run(command)
}

func runSandbox(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "devcluster: the sandbox is started by devcluster up --node")
		return 2
	}
	number, err := strconv.Atoi(args[2])
	if err == nil {
		err = node.Node{Name: args[1], Number: number}.RunSandbox(args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		return 1
	}
	return 0
}

func etcdCommand() *cobra.Command {
	var dir, client, peer string
	var fsync bool
	command := &cobra.Command{
		Use:          "etcd",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			return runEtcd(dir, client, peer, fsync)
		},
	}
	command.Flags().StringVar(&dir, "data-dir", "", "")
	command.Flags().StringVar(&client, "client", "", "")
	command.Flags().StringVar(&peer, "peer", "", "")
	command.Flags().BoolVar(&fsync, "fsync", false, "")
	return command
}

func runEtcd(dir, client, peer string, fsync bool) error {
	clientURL, err := url.Parse(client)
	if err != nil {
		return err
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Name = "devcluster"
	config.Dir = dir
	config.LogLevel = "warn"
	config.UnsafeNoFsync = !fsync
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// Benchmarks fill more than the default 2 GiB.
	config.QuotaBackendBytes = 8 << 30
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "10m"
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return fmt.Errorf("etcd was not ready within a minute")
	}
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	select {
	case <-interrupted.Done():
		return nil
	case err := <-server.Err():
		return err
	}
}
