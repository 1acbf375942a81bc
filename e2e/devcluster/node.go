package main

import "errors"

// NodeState is what a node remembers from one start to the next.
type NodeState struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

func (c *Cluster) prepareNode(options Options) error {
	if options.Node {
		return errors.New("this program starts control planes only; leave --node out")
	}
	return nil
}

func (c *Cluster) nodeComponents() []component { return nil }
func (c *Cluster) clearNode() error            { return nil }
