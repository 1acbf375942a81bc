package node

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Claim takes a number that no other node of this machine has, the preferred one if it can. The link
// that it makes is the claim: of two that ask for the same, the kernel refuses one.
func Claim(owner, name string, preferred int) (Node, error) {
	candidates := make([]int, 0, numbers+1)
	if preferred >= 0 && preferred < numbers {
		candidates = append(candidates, preferred)
	}
	for number := range numbers {
		candidates = append(candidates, number)
	}
	used, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return Node{}, fmt.Errorf("the routes of this machine cannot be read: %w", err)
	}
	for _, number := range candidates {
		node := Node{Name: name, Number: number}
		if link, err := netlink.LinkByName(node.id()); err == nil {
			if link.Attrs().Alias == owner {
				return node, node.makeCgroups()
			}
			continue
		}
		if node.overlaps(used) {
			continue
		}
		switch err := node.addLink(owner, nil); {
		case err == nil:
			return node, node.makeCgroups()
		case !errors.Is(err, os.ErrExist):
			return Node{}, fmt.Errorf("a link to the node cannot be made: %w", err)
		}
	}
	return Node{}, errors.New("198.18.0.0/16 is in use up to the last address; end another cluster: devcluster down")
}

func (n Node) overlaps(routes []netlink.Route) bool {
	_, mine, _ := net.ParseCIDR(n.network())
	for _, route := range routes {
		if other := route.Dst; other != nil && !other.IP.IsUnspecified() && (other.Contains(mine.IP) || mine.Contains(other.IP)) {
			return true
		}
	}
	return false
}

func (n Node) addLink(owner string, peer any) error {
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: n.id() + "n", PeerNamespace: peer}
	veth.Name = n.id()
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(veth, owner); err != nil {
		return errors.Join(err, netlink.LinkDel(veth))
	}
	return nil
}

func (n Node) unlink(owner string) error {
	link, err := netlink.LinkByName(n.id())
	if err != nil || link.Attrs().Alias != owner {
		return nil // gone with the sandbox, or somebody else's
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("link %s cannot be removed: %w", n.id(), err)
	}
	return nil
}

// Connect links this machine with the namespaces of the process, and routes to the node's pods.
func (n Node) Connect(owner string, pid int) error {
	if err := errors.Join(n.unlink(owner), n.addLink(owner, netlink.NsPid(pid))); err != nil {
		return fmt.Errorf("the node cannot be linked: %w", err)
	}
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := address(here, n.id(), n.HostAddress()); err != nil {
		return err
	}
	inside, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer inside.Close()
	there, err := netlink.NewHandleAt(inside)
	if err != nil {
		return err
	}
	defer there.Close()
	loopback, err := there.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := there.LinkSetUp(loopback); err != nil {
		return err
	}
	if err := address(there, n.id()+"n", n.Address()); err != nil {
		return err
	}
	return errors.Join(route(there, "0.0.0.0/0", n.HostAddress()), route(here, n.Pods(), n.Address()))
}

func address(handle *netlink.Handle, name, ip string) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return err
	}
	network := &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(30, 32)}
	if err := handle.AddrReplace(link, &netlink.Addr{IPNet: network}); err != nil {
		return fmt.Errorf("link %s cannot have the address %s: %w", name, ip, err)
	}
	return handle.LinkSetUp(link)
}

func route(handle *netlink.Handle, to, by string) error {
	_, network, err := net.ParseCIDR(to)
	if err != nil {
		return err
	}
	if err := handle.RouteReplace(&netlink.Route{Dst: network, Gw: net.ParseIP(by)}); err != nil {
		return fmt.Errorf("%s cannot be routed by %s: %w", to, by, err)
	}
	return nil
}
