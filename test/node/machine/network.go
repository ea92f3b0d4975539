package machine

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// linkPrefix begins the names of the interfaces that connect this machine to nodes.
	linkPrefix = "gl-node-"
	// maxNodes is how many nodes can run at once: one for each subnet.
	maxNodes = 250

	bridgeName = "br0"
	uplinkName = "uplink"
)

// A network is the network of one node; see the package comment.
type network struct {
	number int
	link   netlink.Link // on this machine
}

func (n network) address(last int) string { return fmt.Sprintf("198.18.%d.%d", n.number, last) }
func (n network) subnet() string          { return n.address(0) + "/24" }
func (n network) host() string            { return n.address(1) }
func (n network) node() string            { return n.address(2) }
func (n network) firstPod() string        { return n.address(10) }
func (n network) lastPod() string         { return n.address(250) }

// connect makes the network of a node in the namespace of a process. Whoever ends the namespace ends the network.
func connect(process int) (*network, error) {
	n, err := connectHost(process)
	if err != nil {
		return nil, err
	}
	if err := n.connectNode(process); err != nil {
		return nil, errors.Join(err, n.remove())
	}
	return n, nil
}

// connectHost makes the pair of interfaces between this machine and the namespace, in the first subnet that is free.
func connectHost(process int) (*network, error) {
	for number := range maxNodes {
		pair := &netlink.Veth{
			LinkAttrs: netlink.NewLinkAttrs(), PeerName: uplinkName, PeerNamespace: netlink.NsPid(process),
		}
		pair.Name = linkPrefix + strconv.Itoa(number)
		err := netlink.LinkAdd(pair)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("connect the node: %w", err)
		}
		n := &network{number: number, link: pair}
		if err := use(&netlink.Handle{}, pair, n.host()+"/24"); err != nil {
			return nil, errors.Join(err, n.remove())
		}
		return n, nil
	}
	return nil, fmt.Errorf("connect the node: %d nodes run already", maxNodes)
}

// connectNode makes the node's side: the bridge, which has the pair as its first port.
func (n *network) connectNode(process int) error {
	inside, err := handleIn(process)
	if err != nil {
		return err
	}
	defer inside.Close()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridgeName
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := inside.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the node's bridge: %w", err)
	}
	made, err := inside.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("make the node's bridge: %w", err)
	}
	// A bridge whose address nobody has set takes another one with each port, and its neighbours would not know.
	if err := inside.LinkSetHardwareAddr(made, made.Attrs().HardwareAddr); err != nil {
		return fmt.Errorf("make the node's bridge: %w", err)
	}
	uplink, err := inside.LinkByName(uplinkName)
	if err != nil {
		return fmt.Errorf("connect the node: %w", err)
	}
	if err := inside.LinkSetMaster(uplink, made); err != nil {
		return fmt.Errorf("connect the node: %w", err)
	}
	if err := use(inside, uplink, ""); err != nil {
		return err
	}
	return use(inside, made, n.node()+"/24")
}

// remove removes the network. It may be gone already, with its namespace.
func (n *network) remove() error {
	err := netlink.LinkDel(n.link)
	var missing netlink.LinkNotFoundError
	if err == nil || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.As(err, &missing) {
		return nil
	}
	return fmt.Errorf("remove the node's network: %w", err)
}

// addAddress gives the loopback interface of a namespace one more address, unless it has it.
func addAddress(process int, ip net.IP) error {
	inside, err := handleIn(process)
	if err != nil {
		return err
	}
	defer inside.Close()
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the node's loopback interface: %w", err)
	}
	if ip.IsLoopback() {
		return use(inside, loopback, "")
	}
	return use(inside, loopback, ip.String()+"/32")
}

// use brings an interface up, with an address if one is given.
func use(handle *netlink.Handle, link netlink.Link, address string) error {
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return fmt.Errorf("address %s: %w", address, err)
		}
		if err := handle.AddrReplace(link, parsed); err != nil {
			return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, address, err)
		}
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", link.Attrs().Name, err)
	}
	return nil
}
