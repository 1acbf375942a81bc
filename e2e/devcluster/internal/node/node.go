// Package node gives a cluster one node: a kubelet with containerd, in namespaces of its own.
//
// The first process in those namespaces, the sandbox, is all that holds them. When it ends, also by
// SIGKILL, the kernel ends every container and takes down every mount and link of the node. Only
// control groups stay, all below one of the node's, and are removed by Clear.
package node

import "fmt"

// Node is what a node remembers from one start to the next.
type Node struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
}

// numbers is how many nodes fit on one machine: each takes a /23 of 198.18.0.0/16, which is set
// aside for benchmarks (RFC 2544) and so met in no network that is in use.
const numbers = 128

// HostAddress is this machine's end of the link to the node.
func (n Node) HostAddress() string { return fmt.Sprintf("198.18.%d.1", 2*n.Number) }

// Address is the node's end of the link.
func (n Node) Address() string { return fmt.Sprintf("198.18.%d.2", 2*n.Number) }

// Pods is the network of the node's pods.
func (n Node) Pods() string { return fmt.Sprintf("198.18.%d.0/24", 2*n.Number+1) }

func (n Node) network() string { return fmt.Sprintf("198.18.%d.0/23", 2*n.Number) }

// id names the link and the control groups.
func (n Node) id() string { return fmt.Sprintf("devcluster%d", n.Number) }
